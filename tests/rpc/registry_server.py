"""A registry on loopback in this very process, on a real database, with its callers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from agentworkspace.core.secret import Secret
from agentworkspace.registry.v1.audit_service_pb2_grpc import AuditServiceStub
from agentworkspace.registry.v1.registration_service_pb2_grpc import RegistrationServiceStub
from agentworkspace.registry.v1.token_service_pb2_grpc import TokenServiceStub
from agentworkspace.registry.v1.workspace_registry_service_pb2_grpc import (
    WorkspaceRegistryServiceStub,
)
from agentworkspace.service.serving import Process
from registry_service.config import Settings
from registry_service.server import Registry

T = TypeVar("T")
P = TypeVar("P", bound=Process)
R = TypeVar("R", bound="RunningService[Any]")
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
START_SECONDS: Final = 20.0

# Name: (role, tenants). The secret of each is `<name>-secret`.
CALLERS: Final[Mapping[str, tuple[str, list[str]]]] = {
    "operator": ("admin", ["*"]),
    "control-plane": ("launcher", ["*"]),
    "gateway": ("verifier", ["*"]),
    "globex-operator": ("admin", ["globex"]),
    "globex-control-plane": ("launcher", ["globex"]),
    "globex-gateway": ("verifier", ["globex"]),
}


def secret_of(caller: str) -> str:
    return f"{caller}-secret"


def bearer(secret: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret}"),)


ADMIN: Final = bearer(secret_of("operator"))
LAUNCHER: Final = bearer(secret_of("control-plane"))
VERIFIER: Final = bearer(secret_of("gateway"))


@dataclass
class RunningService(Generic[P]):
    """A service that serves in this process, and a channel to it."""

    service: P
    port: int
    collectors: CollectorRegistry
    loop: asyncio.AbstractEventLoop
    channel: grpc.Channel

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(START_SECONDS)

    def health(self, service: str = "") -> Any:
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status

    def health_or_none(self) -> Any:
        """None once nobody listens any more."""
        try:
            return self.health()
        except grpc.RpcError:
            return None

    def metric(self, name: str, **labels: str) -> float:
        return self.collectors.get_sample_value(name, labels) or 0.0


@dataclass
class Running(RunningService[Registry]):
    """A serving registry and stubs to call it."""

    tokens: Any = field(init=False)
    boxes: Any = field(init=False)
    workspaces: Any = field(init=False)
    audit: Any = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = TokenServiceStub(self.channel)
        self.boxes = RegistrationServiceStub(self.channel)
        self.workspaces = WorkspaceRegistryServiceStub(self.channel)
        self.audit = AuditServiceStub(self.channel)


def write_credentials(directory: Path) -> Path:
    callers = [
        {
            "name": name,
            "roles": [role],
            "tenants": tenants,
            "sha256": [hashlib.sha256(secret_of(name).encode()).hexdigest()],
        }
        for name, (role, tenants) in CALLERS.items()
    ]
    path = directory / "callers.json"
    path.write_text(json.dumps({"callers": callers}))
    return path


@contextmanager
def serving(
    database_url: str,
    directory: Path,
    *,
    wait: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Serve `database_url` until the block ends; with `wait`, health says SERVING first."""
    settings = Settings.load(
        {
            "REGISTRY_LISTEN": "127.0.0.1:0",
            "REGISTRY_CREDENTIALS_FILE": str(write_credentials(directory)),
            "REGISTRY_STOP_GRACE_SECONDS": "5",
            **(environment or {}),
        }
    )
    with running(Running, partial(Registry, settings, Secret(database_url)), wait=wait) as serves:
        yield serves


@contextmanager
def running(
    kind: Callable[[P, int, CollectorRegistry, asyncio.AbstractEventLoop, grpc.Channel], R],
    make: Callable[..., P],
    *,
    wait: bool,
) -> Iterator[R]:
    """What `make` makes on a loop of its own, as this kind of running service."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="service-loop")
    thread.start()
    collectors = CollectorRegistry()

    async def start() -> tuple[P, int]:
        service = make(collectors=collectors)
        return service, await service.start()

    try:
        service, port = asyncio.run_coroutine_threadsafe(start(), loop).result(START_SECONDS)
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                serves = kind(service, port, collectors, loop, channel)
                if wait:
                    until_serving(serves)
                yield serves
        finally:
            asyncio.run_coroutine_threadsafe(service.stop(), loop).result(START_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_SECONDS)
        loop.close()


def until_serving(running: RunningService[Any]) -> None:
    stub: Any = health_pb2_grpc.HealthStub(running.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=START_SECONDS)
    for answer in watch:
        if answer.status == SERVING:
            break
    watch.cancel()
