"""The commands of deploy/workspacectl.md work as they stand, in their order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agentworkspace.ctl.main import GROUPS, SINGLE
from tests.pages import DEPLOY, blocks, run
from tests.rpc.registry_server import secret_of
from tests.services import both

PAGE = (DEPLOY / "workspacectl.md").read_text()


@pytest.mark.timeout(300)
def test_every_command_of_the_page_works(
    registry_database: str, provision_database: str, tmp_path: Path
) -> None:
    token = tmp_path / "admin-token"
    token.write_text(secret_of("operator") + "\n")
    with both(registry_database, provision_database, tmp_path) as pair:
        environment = {
            "REGISTRY": pair.registry.address,
            "PROVISION": pair.provision.address,
            "TOKEN_FILE": str(token),
        }
        told = run(tmp_path, environment, *blocks("workspacectl.md"))
    assert "acme/reviewer resolves as byok through anthropic-oauth" in told
    assert "WORKSPACE_STATUS_REMOVED" in told
    assert secret_of("operator") not in told


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
