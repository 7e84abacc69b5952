"""What the incidents are played with: clients of both services, their processes, the hosts."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import grpc

from agentworkspace.provision.v1 import (
    billing_service_pb2_grpc,
    secret_service_pb2_grpc,
    workspace_service_pb2_grpc,
)
from agentworkspace.registry.v1 import (
    registration_service_pb2_grpc,
    token_service_pb2_grpc,
    workspace_registry_service_pb2_grpc,
)
from agentworkspace.rpc.errors import failure_from
from deploy.demo.narrative import BrokenPromise
from deploy.demo.outside import Outside

DEADLINE_SECONDS = 15.0


Message = TypeVar("Message")
# A method of a generated stub.
Method: TypeAlias = "grpc.UnaryUnaryMultiCallable[Any, Message]"


class Registry(Protocol):
    """The registry's process."""

    def stop(self) -> None: ...

    def start(self) -> None: ...


class Provision(Protocol):
    """The provision service's process."""

    def restart(self, **settings: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Answer(Generic[Message]):
    """What a call came back with: a message, or a refusal that names its reason."""

    received: Message | None = None
    code: str = "OK"
    reason: str = ""
    recovery: str = ""

    @property
    def ok(self) -> bool:
        return self.received is not None

    @property
    def message(self) -> Message:
        """The message. BrokenPromise when the call was refused."""
        if self.received is None:
            raise BrokenPromise(f"expected an answer, was refused: {self}")
        return self.received

    def __str__(self) -> str:
        if self.ok:
            return "OK"
        return f"{self.code} {self.reason}" + (
            f", recovery {self.recovery}" if self.recovery else ""
        )


@dataclass(kw_only=True)
class Stage:
    """Clients of both services with an admin's credential, both processes, and the outside."""

    registry_channel: grpc.Channel
    provision_channel: grpc.Channel
    admin_secret: str = field(repr=False)
    registry: Registry
    provision: Provision
    outside: Outside

    def __post_init__(self) -> None:
        self.tokens = token_service_pb2_grpc.TokenServiceStub(self.registry_channel)
        self.registrations = registration_service_pb2_grpc.RegistrationServiceStub(
            self.registry_channel
        )
        self.registered = workspace_registry_service_pb2_grpc.WorkspaceRegistryServiceStub(
            self.registry_channel
        )
        self.workspaces = workspace_service_pb2_grpc.WorkspaceServiceStub(self.provision_channel)
        self.billing = billing_service_pb2_grpc.BillingServiceStub(self.provision_channel)
        self.secrets = secret_service_pb2_grpc.SecretServiceStub(self.provision_channel)

    def as_admin(self, method: Method[Message], request: object) -> Answer[Message]:
        return self._call(method, request, self.admin_secret)

    def as_box(self, method: Method[Message], request: object, bearer: str = "") -> Answer[Message]:
        """Call with a workspace token, or with nothing."""
        return self._call(method, request, bearer)

    def _call(self, method: Method[Message], request: object, bearer: str) -> Answer[Message]:
        metadata = (("authorization", f"Bearer {bearer}"),) if bearer else None
        try:
            received = method(
                request, metadata=metadata, timeout=DEADLINE_SECONDS, wait_for_ready=True
            )
        except grpc.RpcError as error:
            failure = failure_from(error)
            return Answer(
                code=failure.code.name,
                reason=failure.reason.removeprefix("ERROR_REASON_"),
                recovery=str(failure.recovery),
            )
        return Answer(received=received)


def pause() -> None:
    """Wait as a box does between two tries."""
    time.sleep(0.25)


def fresh_id() -> str:
    return str(uuid.uuid4())
