"""The two services as a bench runs them: processes of their own, with their shipped settings."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.installation import Installation
from deploy.pair import free_addresses
from tests.bench import processes
from tests.bench.database import Server
from tests.bench.processes import Process

PROVISION_DATABASE: Final = "provision"
_OUTCOMES: Final = "agentworkspace_rpc_calls_total{"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A service that answers at an address. `bearer` is a throwaway admin's, made for this run."""

    address: str
    metrics: tuple[str, ...]
    process: Process
    bearer: str

    def outcomes(self) -> dict[str, float]:
        """How its calls ended so far, as it counts them itself: by `method code reason`."""
        found: dict[str, float] = {}
        for each in self.metrics:
            with urllib.request.urlopen(f"http://{each}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
            for line in lines:
                if line.startswith(_OUTCOMES):
                    labels, _, number = line.removeprefix(_OUTCOMES).rpartition("} ")
                    found[labels] = found.get(labels, 0.0) + float(number)
        return found


@contextmanager
def registry(
    server: Server,
    database_name: str,
    home: Path,
    *,
    count: int = 1,
    environment: Mapping[str, str] | None = None,
    module: str = "registry_service",
    python: str = sys.executable,
    address: str = "",
) -> Iterator[Served]:
    """registry-service in `count` processes on this database, until the block ends; at a free
    address, unless it is to be found where an earlier one was.
    """
    installation = Installation(home)
    installation.prepare()
    address = address or free_addresses(1)[0]
    metrics = _neighbours(count)
    settings = {
        "REGISTRY_LISTEN": address,
        "REGISTRY_DATABASE_URL": server.url(database_name),
        "REGISTRY_CREDENTIALS_FILE": str(installation.registry_callers),
        "REGISTRY_METRICS_LISTEN": metrics[0],
        "REGISTRY_PROCESSES": str(count),
        **(environment or {}),
    }
    log = installation.log("registry-service")
    with processes.module(module, "serve", log=log, environment=settings, python=python) as process:
        processes.wait_until_serving(process, address)
        yield Served(
            address=address,
            metrics=metrics,
            process=process,
            bearer=installation.admin_token.read_text().strip(),
        )


@contextmanager
def provision(
    server: Server, home: Path, registry_address: str, *, count: int = 1
) -> Iterator[Served]:
    """provision-service on an empty database, with this registry, until the block ends."""
    installation = Installation(home)
    installation.prepare()
    server.create(PROVISION_DATABASE)
    (address,) = free_addresses(1)
    metrics = _neighbours(count)
    settings = {
        "PROVISION_LISTEN": address,
        "PROVISION_DATABASE_URL": server.url(PROVISION_DATABASE),
        "PROVISION_CREDENTIALS_FILE": str(installation.provision_callers),
        "PROVISION_REGISTRY_ADDRESS": registry_address,
        "PROVISION_REGISTRY_TOKEN_FILE": str(installation.registry_token),
        "PROVISION_SECRETS_KEYS_FILE": str(installation.secrets_keys),
        "PROVISION_METRICS_LISTEN": metrics[0],
        "PROVISION_PROCESSES": str(count),
        # Nobody launches the boxes that this makes.
        "PROVISION_RECONCILER": "off",
    }
    log = installation.log("provision-service")
    with processes.module(
        "provision_service", "migrate", log=log, environment=settings
    ) as migration:
        processes.wait_until_ended(migration)
    with processes.module("provision_service", "serve", log=log, environment=settings) as process:
        processes.wait_until_serving(process, address)
        yield Served(
            address=address,
            metrics=metrics,
            process=process,
            bearer=installation.admin_token.read_text().strip(),
        )


@contextmanager
def bare(home: Path) -> Iterator[Served]:
    """The server that does nothing."""
    home.mkdir(parents=True, exist_ok=True)
    (address,) = free_addresses(1)
    port = address.rpartition(":")[2]
    with processes.module("tests.bench.ceiling", port, log=home / "bare.log") as process:
        processes.wait_until_listening(process, address)
        yield Served(address=address, metrics=(), process=process, bearer="bench")


def _neighbours(count: int) -> tuple[str, ...]:
    """Where each process serves its metrics: the first's port, and those that follow it."""
    (first,) = free_addresses(1)
    host, _, port = first.rpartition(":")
    return tuple(f"{host}:{int(port) + index}" for index in range(count))
