"""The commands of deploy/keys.md work as they stand, on two replicas."""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.lifecycle.launches import create, launch, set_secret
from tests.lifecycle.processes import nursery_of, provision_process, registry_process
from tests.pages import blocks, run
from tests.rpc.provision_server import write_keys


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
        typed = partial(run, tmp_path, {**first.environment, "NEW_KEY": "k2"})
        workspace_id = create(first).workspace.id
        add, look, rekey, remove = blocks("keys.md")
        typed(add)
        while "does not hold encryption key `k2`" not in typed(look):
            pass
        set_secret(first, workspace_id, "WRITTEN", "meanwhile")
        assert launch(second, workspace_id).env["WRITTEN"] == "meanwhile"
        files[1].write_text(files[0].read_text())
        while "does not hold" in typed(look):
            pass
        assert "under k2, 0 to go" in typed(rekey)
        typed(remove)
        while "holds k2 and writes with k2" not in typed(look):
            pass
        assert list(json.loads(files[0].read_text())["keys"]) == ["k2"]
        assert launch(second, create(second).workspace.id).env
