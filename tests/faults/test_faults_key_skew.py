"""Two replicas, one of which sees a new encryption key a while after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import pytest

from tests.lifecycle.launches import create, launch, set_secret, workspace_of
from tests.lifecycle.processes import (
    ProvisionProcess,
    insisting,
    nursery_of,
    provision_process,
    registry_process,
)
from tests.rpc.provision_server import write_keys
from tests.rpc.registry_requests import failed

K1: Final = hashlib.sha256(b"k1").digest()
K2: Final = hashlib.sha256(b"k2").digest()


@dataclass(frozen=True)
class Replica:
    """With a keys file of its own."""

    process: ProvisionProcess
    directory: Path


@pytest.fixture
def replicas(
    registry_database: str, provision_database: str, tmp_path: Path
) -> Iterator[tuple[Replica, Replica]]:
    with nursery_of(tmp_path) as nursery, ExitStack() as stack:
        registry = registry_process(nursery, stack, registry_database, {})
        made = []
        for name in ("first", "second"):
            directory = tmp_path / name
            directory.mkdir()
            keys = {"PROVISION_SECRETS_KEYS_FILE": str(write_keys(directory, k1=K1))}
            process = provision_process(nursery, stack, provision_database, registry.address, keys)
            made.append(Replica(process, directory))
        yield made[0], made[1]


def test_a_key_that_has_not_arrived_is_waited_for_and_blamed_on_no_secret(
    replicas: tuple[Replica, Replica],
) -> None:
    first, second = replicas
    workspace_id = create(first.process).workspace.id
    write_keys(second.directory, "k2", k1=K1, k2=K2)
    set_secret(second.process, workspace_id, "WRITTEN", "under k2")
    told = failed(lambda: launch(first.process, workspace_id))
    assert (told.code, told.reason, told.recovery) == (
        grpc.StatusCode.UNAVAILABLE,
        "STORE_UNAVAILABLE",
        "RETRY",
    )
    assert told.retry_seconds == 5
    assert "does not hold encryption key `k2` yet" in told.message
    assert workspace_of(first.process, workspace_id).last_error.code == ""
    assert launch(second.process, workspace_id).env["WRITTEN"] == "under k2"
    write_keys(first.directory, "k2", k1=K1, k2=K2)
    other_id = create(first.process).workspace.id
    set_secret(second.process, other_id, "WRITTEN", "under k2")
    answer = insisting(lambda: launch(first.process, other_id))
    assert answer.env["WRITTEN"] == "under k2"
