"""Two replicas, one of which sees a new encryption key a while after the other."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import psycopg2
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


def key_id_of(database: str, key: str) -> str:
    query = "SELECT key_id FROM provision.secrets WHERE key = %s"
    [(key_id,)] = rows(database, query, key)
    return str(key_id)


def rows(database: str, statement: str, *values: str) -> list[tuple[object, ...]]:
    url = database.replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as it:
        it.execute(statement, values)
        return it.fetchall() if it.description else []


def test_a_key_is_written_with_when_both_have_it_and_nobody_notices_the_rotation(
    replicas: tuple[Replica, Replica], provision_database: str
) -> None:
    first, second = replicas
    workspace_id = create(first.process).workspace.id
    write_keys(second.directory, "k2", k1=K1, k2=K2)
    reports = "SELECT 1 FROM provision.key_holders WHERE wants = 'k2' AND writes_with = 'k1'"
    while not rows(provision_database, reports):
        pass
    set_secret(second.process, workspace_id, "EARLY", "under k1")
    assert key_id_of(provision_database, "EARLY") == "k1"
    assert launch(first.process, workspace_id).env["EARLY"] == "under k1"
    write_keys(first.directory, "k2", k1=K1, k2=K2)
    other_id = create(first.process).workspace.id
    while key_id_of(provision_database, "EARLY") == "k1":
        pass
    set_secret(second.process, other_id, "LATE", "under k2")
    assert key_id_of(provision_database, "LATE") == "k2"
    answer = insisting(lambda: launch(first.process, other_id))
    assert answer.env["LATE"] == "under k2"


def test_a_replica_that_was_taken_for_dead_waits_for_the_key_and_blames_no_secret(
    replicas: tuple[Replica, Replica], provision_database: str
) -> None:
    first, second = replicas
    workspace_id = create(first.process).workspace.id
    first.process.send(signal.SIGSTOP)
    rows(
        provision_database,
        "UPDATE provision.key_holders SET lease_expire_time = now() - interval '1 second'",
    )
    write_keys(second.directory, "k2", k1=K1, k2=K2)
    while key_id_of(provision_database, "CLAUDE_CODE_OAUTH_TOKEN") == "k1":
        pass
    first.process.send(signal.SIGCONT)
    told = failed(lambda: launch(first.process, workspace_id))
    assert (told.code, told.reason, told.recovery) == (
        grpc.StatusCode.UNAVAILABLE,
        "STORE_UNAVAILABLE",
        "RETRY",
    )
    assert told.retry_seconds == 5
    assert "does not hold encryption key `k2` yet" in told.message
    assert workspace_of(first.process, workspace_id).last_error.code == ""
    write_keys(first.directory, "k2", k1=K1, k2=K2)
    assert insisting(lambda: launch(first.process, workspace_id)).env
