"""The commands of deploy/keys.md work as they stand, on two replicas."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.e2e.boxes import ROOT
from tests.lifecycle.launches import create, launch, set_secret
from tests.lifecycle.processes import nursery_of, provision_process, registry_process
from tests.rpc.provision_server import write_keys

SECONDS: Final = 60


def blocks() -> list[str]:
    """The shell of the page, without the indentation of its list."""
    page = (ROOT / "deploy" / "keys.md").read_text()
    found = re.findall(r"^   ```sh\n(.*?)^   ```$", page, re.DOTALL | re.MULTILINE)
    return [re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in found]


def shell_with(environment: dict[str, str]) -> Callable[[str], str]:
    """Run a block; answers what it printed on either side."""

    def run(script: str) -> str:
        done = subprocess.run(
            ("bash", "-eu", "-o", "pipefail", "-c", script),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def test_a_key_is_rotated_on_two_replicas_by_the_commands_of_the_page(
    registry_database: str, provision_database: str, tmp_path: Path
) -> None:
    files = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        files.append(write_keys(tmp_path / name, "k1"))
    with nursery_of(tmp_path) as nursery, ExitStack() as stack:
        registry = registry_process(nursery, stack, registry_database, {})
        first, second = (
            provision_process(
                nursery,
                stack,
                provision_database,
                registry.address,
                {"PROVISION_SECRETS_KEYS_FILE": str(file)},
            )
            for file in files
        )
        run = shell_with(
            {
                **first.environment,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "NEW_KEY": "k2",
            }
        )
        workspace_id = create(first).workspace.id
        add, look, rekey, remove = blocks()
        run(add)
        while "does not hold encryption key `k2`" not in run(look):
            pass
        set_secret(first, workspace_id, "WRITTEN", "meanwhile")
        assert launch(second, workspace_id).env["WRITTEN"] == "meanwhile"
        files[1].write_text(files[0].read_text())
        while "does not hold" in run(look):
            pass
        assert "under k2, 0 to go" in run(rekey)
        run(remove)
        while "holds k2 and writes with k2" not in run(look):
            pass
        assert list(json.loads(files[0].read_text())["keys"]) == ["k2"]
        assert launch(second, create(second).workspace.id).env
