"""The commands of deploy/workspacectl.md work as they stand, in their order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agentworkspace.ctl.main import GROUPS, SINGLE
from tests.e2e.boxes import ROOT
from tests.rpc.registry_server import secret_of
from tests.services import both

PAGE = (ROOT / "deploy" / "workspacectl.md").read_text()
SECONDS = 280


@pytest.mark.timeout(300)
def test_every_command_of_the_page_works(
    registry_database: str, provision_database: str, tmp_path: Path
) -> None:
    token = tmp_path / "admin-token"
    token.write_text(secret_of("operator") + "\n")
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    with both(registry_database, provision_database, tmp_path) as pair:
        done = subprocess.run(
            ("bash", "-eux", "-o", "pipefail", "-c", "\n".join(blocks)),
            cwd=tmp_path,
            env={
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "REGISTRY": pair.registry.address,
                "PROVISION": pair.provision.address,
                "TOKEN_FILE": str(token),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    assert done.returncode == 0, done.stderr
    assert "acme/reviewer resolves as byok through anthropic-oauth" in done.stdout
    assert "WORKSPACE_STATUS_REMOVED" in done.stdout
    assert secret_of("operator") not in done.stdout + done.stderr


@pytest.mark.parametrize("group", [group.name for group in GROUPS])
def test_the_page_shows_every_group_of_commands(group: str) -> None:
    assert f"{group} " in PAGE


@pytest.mark.parametrize("command", [command.name for command in SINGLE])
def test_the_page_shows_every_command_of_its_own(command: str) -> None:
    assert re.search(rf"workspacectl (--\w+ \w+ )?{command}\b", PAGE)


def test_the_page_names_whatever_asks_first() -> None:
    asking = {
        command.name for group in GROUPS for command in group.commands if command.ends is not None
    }
    asked = PAGE.partition("says what, and asks:")[2].partition("--yes")[0]
    assert {name for name in asking if name not in asked} == set()
