"""Registry and provision as processes that can be killed, paused and started again."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agentworkspace.provision.v1.secret_service_pb2_grpc import SecretServiceStub
from agentworkspace.provision.v1.workspace_service_pb2_grpc import WorkspaceServiceStub
from agentworkspace.registry.v1.audit_service_pb2_grpc import AuditServiceStub
from agentworkspace.registry.v1.registration_service_pb2_grpc import RegistrationServiceStub
from agentworkspace.registry.v1.token_service_pb2_grpc import TokenServiceStub
from agentworkspace.registry.v1.workspace_registry_service_pb2_grpc import (
    WorkspaceRegistryServiceStub,
)
from tests.rpc.provision_server import environment_of
from tests.rpc.registry_server import write_credentials
from tests.services import free_address

T = TypeVar("T")
ROOT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 60.0
PASSING: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
# A service that was just killed is back at once; so should its clients be.
_BACK_SOON: Final = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
]


class Nursery:
    """Ends what it started, by the process ids it was given.

    `root` is the checkout whose services it starts; their logs lie in `directory`.
    """

    def __init__(self, directory: Path, root: Path = ROOT) -> None:
        self.directory = directory
        paths = os.pathsep.join((str(root / "protos"), str(root)))
        self._process = subprocess.Popen(
            (sys.executable, "-m", "tests.lifecycle.nursery"),
            cwd=root,
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._alive: set[Child] = set()

    def start(self, service: str, environment: Mapping[str, str]) -> Child:
        log = self.directory / f"{service}.log"
        order = {"service": service, "environment": dict(environment), "log": str(log)}
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both are pipes")
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        child = Child(pid, os.pidfd_open(pid), self._alive.discard)
        self._alive.add(child)
        return child

    def close(self) -> None:
        for child in list(self._alive):
            child.end(signal.SIGKILL)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(SECONDS)


class Child:
    """One process; its handle cannot come to mean another one."""

    def __init__(self, pid: int, handle: int, ended: Callable[[Child], None]) -> None:
        self._pid = pid
        self._handle = handle
        self._ended = ended

    def send(self, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self._handle, number)

    @property
    def resident_bytes(self) -> int:
        """Its memory, as Linux counts it."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        kibibytes = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        if kibibytes is None:
            raise AssertionError("it has ended")
        return int(kibibytes[1]) * 1024

    def end(self, number: signal.Signals) -> None:
        """Send it, and wait until the process is gone."""
        self.send(number)
        if not select.select([self._handle], [], [], SECONDS)[0]:
            raise AssertionError("it does not end")
        os.close(self._handle)
        self._ended(self)


@dataclass
class Service:
    """One replica, on an address that stays."""

    name: str
    nursery: Nursery
    environment: Mapping[str, str]
    address: str
    channel: grpc.Channel
    child: Child | None = field(default=None)

    def start(self) -> None:
        self.child = self.nursery.start(self.name, self.environment)

    def stop(self) -> None:
        """SIGTERM, and wait until it has finished what runs."""
        if self.child is not None:
            self.child.end(signal.SIGTERM)
            self.child = None

    def kill(self) -> None:
        """`kill -9`."""
        if self.child is not None:
            self.child.end(signal.SIGKILL)
            self.child = None

    def send(self, number: signal.Signals) -> None:
        if self.child is None:
            raise AssertionError("it does not run")
        self.child.send(number)

    def until_serving(self) -> None:
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        request = health_pb2.HealthCheckRequest()

        def serving() -> bool:
            answer = stub.Check(request, timeout=SECONDS, wait_for_ready=True)
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

        while not insisting(serving):
            pass


@dataclass
class RegistryProcess(Service):
    """With the stubs that `tests.rpc.registry_story` wants."""

    @property
    def tokens(self) -> Any:
        return TokenServiceStub(self.channel)

    @property
    def boxes(self) -> Any:
        return RegistrationServiceStub(self.channel)

    @property
    def workspaces(self) -> Any:
        return WorkspaceRegistryServiceStub(self.channel)

    @property
    def audit(self) -> Any:
        return AuditServiceStub(self.channel)


@dataclass
class ProvisionProcess(Service):
    @property
    def workspaces(self) -> Any:
        return WorkspaceServiceStub(self.channel)

    @property
    def secrets(self) -> Any:
        return SecretServiceStub(self.channel)


@dataclass(frozen=True)
class Pair:
    registry: RegistryProcess
    provisions: tuple[ProvisionProcess, ...]

    @property
    def provision(self) -> ProvisionProcess:
        return self.provisions[0]


@contextmanager
def registries(
    database: str, directory: Path, *, count: int = 1, **settings: str
) -> Iterator[tuple[RegistryProcess, ...]]:
    """Replicas of one registry."""
    with nursery_of(directory) as nursery, ExitStack() as stack:
        yield tuple(registry_process(nursery, stack, database, settings) for _ in range(count))


@contextmanager
def pair(
    registry_database: str,
    provision_database: str,
    directory: Path,
    *,
    provisions: int = 1,
    settings: Mapping[str, str] | None = None,
    root: Path = ROOT,
) -> Iterator[Pair]:
    """A variable goes to the service that its prefix names, OpenTelemetry's to both; `root` is
    whose services they are.
    """
    directory.mkdir(exist_ok=True)
    given = settings or {}
    of_registry = {
        name: text for name, text in given.items() if name.startswith(("REGISTRY_", "OTEL_"))
    }
    of_provision = {name: text for name, text in given.items() if not name.startswith("REGISTRY_")}
    with nursery_of(directory, root) as nursery, ExitStack() as stack:
        registry = registry_process(nursery, stack, registry_database, of_registry)
        replicas = tuple(
            provision_process(nursery, stack, provision_database, registry.address, of_provision)
            for _ in range(provisions)
        )
        yield Pair(registry, replicas)


def insisting(call: Callable[[], T]) -> T:
    """Again and again until there is an answer that is not merely `not now`."""
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            failed: Any = error
            if failed.code() not in PASSING:
                raise


def registry_process(
    nursery: Nursery, stack: ExitStack, database: str, settings: Mapping[str, str]
) -> RegistryProcess:
    address = free_address()
    environment = {
        "REGISTRY_LISTEN": address,
        "REGISTRY_DATABASE_URL": database,
        "REGISTRY_CREDENTIALS_FILE": str(write_credentials(nursery.directory)),
        "REGISTRY_STOP_GRACE_SECONDS": "1",
        **settings,
    }
    channel = stack.enter_context(grpc.insecure_channel(address, options=_BACK_SOON))
    replica = RegistryProcess("registry", nursery, environment, address, channel)
    replica.start()
    replica.until_serving()
    return replica


def provision_process(
    nursery: Nursery,
    stack: ExitStack,
    database: str,
    registry_address: str,
    settings: Mapping[str, str],
) -> ProvisionProcess:
    address = free_address()
    environment = environment_of(
        nursery.directory,
        registry_address,
        {
            "PROVISION_LISTEN": address,
            "PROVISION_DATABASE_URL": database,
            "PROVISION_STOP_GRACE_SECONDS": "1",
            **settings,
        },
    )
    channel = stack.enter_context(grpc.insecure_channel(address, options=_BACK_SOON))
    replica = ProvisionProcess("provision", nursery, environment, address, channel)
    replica.start()
    replica.until_serving()
    return replica


@contextmanager
def nursery_of(directory: Path, root: Path = ROOT) -> Iterator[Nursery]:
    nursery = Nursery(directory, root)
    try:
        yield nursery
    finally:
        nursery.close()
