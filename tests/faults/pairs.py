"""What both services need of a database that can fail, and when they notice that it does."""

from __future__ import annotations

from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.faults.servers import Server
from tests.lifecycle.processes import Service
from tests.postgres import migration_of

DATABASES: Final = ("registry", "provision")
SERVING: Final = health_pb2.HealthCheckResponse.SERVING


def make_databases(server: Server) -> None:
    """Both databases, with their schema."""
    for name in DATABASES:
        server.sql(f"CREATE DATABASE {name}")
        migration_of(name)(server.url(name))


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
