"""Both services, as processes of their own, on a database that can fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.faults.servers import Server
from tests.lifecycle.lives import Replicas
from tests.lifecycle.processes import (
    ProvisionProcess,
    RegistryProcess,
    Service,
    nursery_of,
    provision_process,
    registry_process,
)
from tests.postgres import migration_of

DATABASES: Final = ("registry", "provision")
SERVING: Final = health_pb2.HealthCheckResponse.SERVING


@dataclass(frozen=True)
class Pair:
    """One replica of each service."""

    registry: RegistryProcess
    provision: ProvisionProcess

    def replicas(self, *, patient: bool) -> Replicas:
        return Replicas([self.registry], [self.provision], patient=patient)


def make_databases(server: Server) -> None:
    """Both databases, with their schema."""
    for name in DATABASES:
        server.sql(f"CREATE DATABASE {name}")
        migration_of(name)(server.url(name))


@contextmanager
def serving(
    urls: Mapping[str, str], directory: Path, *, settings: Mapping[str, str] | None = None
) -> Iterator[Pair]:
    """Serve until the block ends. `urls` are by the names of the services; a setting goes to the
    service that its prefix names.
    """
    given = settings or {}
    of = {
        service: {name: text for name, text in given.items() if name.startswith(prefix)}
        for service, prefix in (("registry", "REGISTRY_"), ("provision", "PROVISION_"))
    }
    directory.mkdir(exist_ok=True)
    with nursery_of(directory) as nursery, ExitStack() as stack:
        registry = registry_process(nursery, stack, urls["registry"], of["registry"])
        provision = provision_process(
            nursery, stack, urls["provision"], registry.address, of["provision"]
        )
        yield Pair(registry, provision)


def health_of(service: Service) -> Any:
    """None when nobody answers."""
    stub: Any = health_pb2_grpc.HealthStub(service.channel)
    try:
        return stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status
    except grpc.RpcError:
        return None


def until_not_serving(service: Service) -> None:
    while health_of(service) == SERVING:
        pass
