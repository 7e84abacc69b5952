"""A pooler between a service and its database, of which the service was not told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from agentworkspace.service import embedded_postgres
from tests import debian
from tests.bench import pooled
from tests.faults.pairs import make_databases
from tests.faults.servers import Server, reachable_directory, started
from tests.lifecycle.processes import nursery_of
from tests.rpc.provision_server import environment_of
from tests.rpc.registry_server import write_credentials
from tests.services import free_address

SECONDS: Final = 60.0


@pytest.fixture
def pooler() -> Iterator[str]:
    """The address of a PgBouncer in front of both databases."""
    debian.program_or_skip("pgbouncer", pooled.PACKAGE)
    with reachable_directory() as directory, started(Server(directory / "pg")) as server:
        make_databases(server)
        behind: Any = SimpleNamespace(sockets=server.sockets)
        with pooled.running(behind, directory / "pgbouncer") as address:
            yield address


def environment(service: str, directory: Path, pooler: str) -> dict[str, str]:
    url = f"postgresql://{embedded_postgres.SUPERUSER}@{pooler}/{service}"
    if service == "provision":
        return {**environment_of(directory, "127.0.0.1:1", {}), "PROVISION_DATABASE_URL": url}
    return {
        "REGISTRY_LISTEN": free_address(),
        "REGISTRY_CREDENTIALS_FILE": str(write_credentials(directory)),
        "REGISTRY_DATABASE_URL": url,
    }


def reasons(log: Path) -> set[str]:
    """What the log says so far on why there is no database."""
    lines = log.read_text().splitlines() if log.exists() else []
    events = [json.loads(line) for line in lines if line.endswith("}")]
    return {event["why"] for event in events if "why" in event}


@pytest.mark.parametrize("service", ["registry", "provision"])
def test_a_service_that_was_not_told_of_its_pooler_logs_which_setting_tells_it(
    pooler: str, tmp_path: Path, service: str
) -> None:
    wanted = f"set {service.upper()}_DATABASE_POOLED=1"
    with nursery_of(tmp_path) as nursery:
        nursery.start(service, environment(service, tmp_path, pooler))
        give_up = time.monotonic() + SECONDS
        while not any(wanted in reason for reason in reasons(tmp_path / f"{service}.log")):
            assert time.monotonic() < give_up, (tmp_path / f"{service}.log").read_text()
            time.sleep(0.05)
