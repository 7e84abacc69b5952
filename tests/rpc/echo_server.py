"""A server with one small service behind a real edge, for the tests in this directory."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, wrappers_pb2
from prometheus_client import CollectorRegistry

from agentworkspace.core.caller import Caller
from agentworkspace.rpc.errors import RpcFailure, failure_from
from agentworkspace.rpc.policy import Lane, Policy, Rule
from agentworkspace.server.edge import Edge, EdgeSettings
from agentworkspace.server.metrics import EdgeMetrics
from agentworkspace.server.server import Mount, RpcServer, ServerSettings

Text = wrappers_pb2.StringValue
SERVICE = "edgetest.v1.Echo"
SAY = f"/{SERVICE}/Say"
COUNT = f"/{SERVICE}/Count"
LAUNCH = f"/{SERVICE}/Launch"

LAUNCHER_SECRET = "launcher-secret"
VERIFIER_SECRET = "verifier-secret"
CALLERS = {
    LAUNCHER_SECRET: Caller("launch-1", frozenset({"launcher"}), None),
    VERIFIER_SECRET: Caller("check-1", frozenset({"verifier"}), None),
}
OPEN = Rule(any_caller=True, bearer_allowed=True, anonymous_allowed=True, lane=Lane.AGENT)
POLICY: Policy = {
    SAY: OPEN,
    COUNT: replace(OPEN, lane=Lane.CONTROL),
    LAUNCH: Rule(roles=frozenset({"launcher"}), lane=Lane.CONTROL),
}


def _describe() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="edgetest/v1/echo.proto",
        package="edgetest.v1",
        dependency=["google/protobuf/wrappers.proto"],
    )
    service = file.service.add(name="Echo")
    text = ".google.protobuf.StringValue"
    service.method.add(name="Say", input_type=text, output_type=text)
    service.method.add(name="Count", input_type=text, output_type=text, server_streaming=True)
    service.method.add(name="Launch", input_type=text, output_type=text)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(SERVICE)


DESCRIPTOR = _describe()


async def echo(request: Text, _context: Any) -> Text:
    return request


async def count(request: Text, _context: Any) -> AsyncIterator[Text]:
    for number in range(int(request.value)):
        yield Text(value=str(number))


def mount(say: Any = echo, counting: Any = count, launch: Any = echo) -> Mount:
    """The service with these behaviours, added the way generated code does."""
    shapes: dict[str, Any] = {
        "request_deserializer": Text.FromString,
        "response_serializer": Text.SerializeToString,
    }
    handlers: dict[str, Any] = {
        "Say": grpc.unary_unary_rpc_method_handler(say, **shapes),
        "Count": grpc.unary_stream_rpc_method_handler(counting, **shapes),
        "Launch": grpc.unary_unary_rpc_method_handler(launch, **shapes),
    }
    return Mount(
        DESCRIPTOR, lambda server: server.add_registered_method_handlers(SERVICE, handlers)
    )


class FakeServer:
    """Takes what the edge mounts, and finds a method like the real one. `registered` have queues
    of their own.
    """

    def __init__(self) -> None:
        self.registered: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        (self._door,) = handlers

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        self.registered |= {f"/{service}/{name}": each for name, each in handlers.items()}

    def method(self, name: str) -> Any:
        return self.registered.get(name) or self.behind_the_door(name)

    def behind_the_door(self, name: str) -> Any:
        return self._door.service(SimpleNamespace(method=name, invocation_metadata=()))


def mounted(edge: Edge, **behaviours: Any) -> FakeServer:
    server = FakeServer()
    edge.mount(cast("Any", server), [mount(**behaviours).add])
    return server


class Lines:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def is_enabled_for(self, _level: int) -> bool:
        return True

    def __getattr__(self, level: str) -> Callable[..., None]:
        def log(event: str, **fields: Any) -> None:
            self.events.append({"level": level, "event": event, **fields})

        return log


def bug(_error: Exception) -> RpcFailure:
    """What a service's translation says of an exception it does not know."""
    return RpcFailure(
        grpc.StatusCode.INTERNAL, "edgetest", "ERROR_REASON_INTERNAL", "something broke here"
    )


@dataclass
class Parts:
    """What a test may look at besides the answers."""

    edge: Edge
    server: RpcServer
    channel: grpc.aio.Channel
    port: int
    log: Lines
    metrics: CollectorRegistry
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def say(self, text: str = "hello", **options: Any) -> Any:
        return self._unary(SAY)(Text(value=text), **_call(options))

    def launch(self, text: str = "hello", **options: Any) -> Any:
        return self._unary(LAUNCH)(Text(value=text), **_call(options))

    def say_bytes(self, raw: bytes, **options: Any) -> Any:
        return self.raw(SAY, raw, **options)

    def raw(self, method: str, raw: bytes, **options: Any) -> Any:
        call: Any = self.channel.unary_unary(method)
        return call(raw, **_call(options))

    def count(self, text: str = "3", **options: Any) -> Any:
        stream = self.channel.unary_stream(
            COUNT,
            request_serializer=Text.SerializeToString,
            response_deserializer=Text.FromString,
        )
        return stream(Text(value=text), **_call(options))

    def _unary(self, method: str) -> Any:
        return self.channel.unary_unary(
            method,
            request_serializer=Text.SerializeToString,
            response_deserializer=Text.FromString,
        )


def make_edge(
    *,
    policy: Policy = POLICY,
    translate: Callable[[Exception], RpcFailure] = bug,
    log: Lines | None = None,
    metrics: CollectorRegistry | None = None,
    **settings: Any,
) -> Edge:
    return Edge(
        policy=policy,
        authenticate=CALLERS.get,
        translate=translate,
        settings=EdgeSettings(domain="edgetest", **settings),
        metrics=EdgeMetrics(metrics),
        logger=log or Lines(),
    )


@asynccontextmanager
async def serving(
    *,
    say: Any = echo,
    counting: Any = count,
    launch: Any = echo,
    server: Mapping[str, Any] | None = None,
    **edge_options: Any,
) -> AsyncIterator[Parts]:
    """The service on a free loopback port, and a channel to it."""
    log, metrics = Lines(), CollectorRegistry()
    edge = make_edge(log=log, metrics=metrics, **edge_options)
    settings = ServerSettings(**{"listen": "127.0.0.1:0", "drain_seconds": 5.0, **(server or {})})
    running = RpcServer(settings, edge, [mount(say, counting, launch)])
    port = await running.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Parts(edge, running, channel, port, log, metrics)
    finally:
        await running.stop()


async def failure_of(call: Any) -> RpcFailure:
    """The failure that this call ends with."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return failure_from(error)
    raise AssertionError(f"the call was answered: {answer}")


async def stream_failure_of(call: Any) -> RpcFailure:
    try:
        async for _ in call:
            pass
    except grpc.aio.AioRpcError as error:
        return failure_from(error)
    raise AssertionError("the stream ended well")


def story(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test function in an event loop of its own."""

    @functools.wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*arguments, **fixtures), 30))

    return run


def sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _call(options: dict[str, Any]) -> dict[str, Any]:
    """`bearer` and `correlation_id` as metadata; everything else as it is."""
    pairs = list(options.pop("metadata", ()))
    if "bearer" in options:
        pairs.append(("authorization", f"Bearer {options.pop('bearer')}"))
    if "correlation_id" in options:
        pairs.append(("agentworkspace-correlation-id", options.pop("correlation_id")))
    return {"timeout": 20, **options, "metadata": tuple(pairs)}
