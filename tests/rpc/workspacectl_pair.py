"""Both services on loopback, answering from a script; and `workspacectl` run against them."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any, Final, TypeVar
from unittest import mock

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from typing_extensions import override

from agentworkspace.ctl.main import main
from agentworkspace.provision.v1 import audit_service_pb2_grpc as provision_audit
from agentworkspace.provision.v1 import (
    billing_service_pb2_grpc,
    catalogue_service_pb2_grpc,
    secret_service_pb2_grpc,
    workspace_service_pb2_grpc,
)
from agentworkspace.provision.v1 import system_service_pb2_grpc as provision_system
from agentworkspace.registry.v1 import audit_service_pb2_grpc as registry_audit
from agentworkspace.registry.v1 import (
    registration_service_pb2_grpc,
    token_service_pb2_grpc,
    workspace_registry_service_pb2_grpc,
)
from agentworkspace.registry.v1 import system_service_pb2_grpc as registry_system
from agentworkspace.rpc.errors import RpcFailure, public_message, to_trailing

REGISTRY: Final = (
    token_service_pb2_grpc,
    registration_service_pb2_grpc,
    workspace_registry_service_pb2_grpc,
    registry_audit,
    registry_system,
)
PROVISION: Final = (
    workspace_service_pb2_grpc,
    billing_service_pb2_grpc,
    secret_service_pb2_grpc,
    catalogue_service_pb2_grpc,
    provision_audit,
    provision_system,
)
WORKSPACE: Final = "6b2f3c1e-52c4-4b5a-9d4e-0f7f1c2d3e4f"
TOKEN: Final = "1c0ffee1-0000-4000-8000-000000000001"
LAUNCH: Final = "1a0bce11-0000-4000-8000-000000000002"
CONFIG: Final = "WORKSPACECTL_CONFIG"
NO_CONTEXTS: Final = "/nonexistent/contexts.yaml"
CORRELATION: Final = "corr-of-the-service"

M = TypeVar("M", bound=Message)
# None: no answer at all, for as long as the caller waits.
Reply = Message | RpcFailure | None


@dataclass
class Asked:
    """One call as it arrived."""

    method: str
    request: Any
    metadata: dict[str, str]


@dataclass
class Scripted:
    """One service: says what it was told to say, in turn, and remembers what it was asked."""

    address: str = ""
    asked: list[Asked] = field(default_factory=list)
    health: health.HealthServicer = field(default_factory=health.HealthServicer)
    _replies: dict[str, list[Reply]] = field(default_factory=dict)

    def on(self, method: str, *replies: Reply) -> None:
        self._replies[method] = list(replies)

    def only(self, kind: type[M]) -> M:
        """The one request that came, which is of this kind."""
        (asked,) = self.asked
        assert isinstance(asked.request, kind)
        return asked.request

    def answer(self, method: str, request: Message, context: grpc.ServicerContext) -> Message:
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        self.asked.append(Asked(method, request, metadata))
        replies = self._replies[method]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if isinstance(reply, RpcFailure):
            context.set_trailing_metadata(to_trailing(reply, CORRELATION))
            context.abort(reply.code, public_message(reply))
        if reply is None:
            hung_up = threading.Event()
            if context.add_callback(hung_up.set):
                hung_up.wait()
            return Timestamp()  # nobody hears it
        assert isinstance(reply, Message)
        return reply


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def lines(self) -> list[str]:
        """Standard output without the alignment: words separated by single spaces."""
        return [" ".join(line.split()) for line in self.out.splitlines() if line.strip()]


@dataclass
class Pair:
    """Both services, and the tool pointed at them."""

    registry: Scripted
    provision: Scripted

    def run(self, *words: str, stdin: bytes | None = b"") -> Result:
        where = ["--registry", self.registry.address, "--provision", self.provision.address]
        return run(*where, *words, stdin=stdin)


class Terminal(io.TextIOWrapper):
    """Somebody sits there and types."""

    @override
    def isatty(self) -> bool:
        return True


def run(*words: str, stdin: bytes | None = b"") -> Result:
    """The tool itself, in this process; at a terminal when `stdin` is None."""
    out, err = io.StringIO(), io.StringIO()
    kind = Terminal if stdin is None else io.TextIOWrapper
    typed = kind(io.BytesIO(stdin or b""), encoding="utf-8")
    with (
        mock.patch.dict(os.environ, {CONFIG: os.environ.get(CONFIG, NO_CONTEXTS)}),
        mock.patch.object(sys, "stdin", typed),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = main(list(words))
    return Result(int(code), out.getvalue(), err.getvalue())


@contextmanager
def running_pair() -> Iterator[Pair]:
    with serving(REGISTRY) as registry, serving(PROVISION) as provision:
        yield Pair(registry, provision)


@contextmanager
def serving(
    modules: Sequence[ModuleType], credentials: grpc.ServerCredentials | None = None
) -> Iterator[Scripted]:
    script = Scripted()
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
        for module in modules:
            _add_servicers(module, script, server)
        health_pb2_grpc.add_HealthServicer_to_server(script.health, server)
        if credentials is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            port = server.add_secure_port("127.0.0.1:0", credentials)
        script.address = f"127.0.0.1:{port}"
        server.start()
        try:
            yield script
        finally:
            server.stop(None).wait()


def _add_servicers(module: ModuleType, script: Scripted, server: grpc.Server) -> None:
    """Every servicer of a generated module, with every method answered by the script."""
    for name, kind in vars(module).items():
        if not name.endswith("Servicer"):
            continue
        methods: dict[str, Callable[..., Message]] = {
            method: partial(script.answer, method) for method in vars(kind) if method[0].isupper()
        }
        servicer = type(f"Scripted{name}", (kind,), {})()
        vars(servicer).update(methods)
        getattr(module, f"add_{name}_to_server")(servicer, server)


def set_serving(script: Scripted, *parts: str, serving: bool = True) -> None:
    word = "SERVING" if serving else "NOT_SERVING"
    status = health_pb2.HealthCheckResponse.ServingStatus.Value(word)
    for part in parts:
        script.health.set(part, status)


def at(text: str) -> Timestamp:
    found = Timestamp()
    found.FromJsonString(text)
    return found
