"""The drop-in interceptor: who gets through to a servicer, and how the others are answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import wrappers_pb2

from agentworkspace.client.channel import aio_channel
from agentworkspace.client.verifier import BlockingVerifier, Requirement, Verifier, principal
from agentworkspace.client.verifier.interceptor import BearerInterceptor, BlockingBearerInterceptor
from agentworkspace.core.refusal import Recovery
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import TokenKind, new_token
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.rpc.errors import RpcFailure, failure_from
from tests.rpc.verifier_registry_server import TokenRegistry, serving

Text = wrappers_pb2.StringValue
TOKEN, WRITER = new_token(TokenKind.API), new_token(TokenKind.API)
SERVICE = "/acme.tasks.v1.Tasks"
REQUIREMENTS = {
    f"{SERVICE}/Read": Requirement(),
    f"{SERVICE}/Write": Requirement(scopes=frozenset({"tasks:write"})),
    f"{SERVICE}/Take": Requirement(kind=TokenKind.INSTANCE),
    f"{SERVICE}/OfWorkspace": Requirement(workspace_field="value"),
    f"{SERVICE}/Stream": Requirement(),
    f"{SERVICE}/Open": None,
}
StatusCode = grpc.StatusCode


class Flavour:
    """A server of one kind with the interceptor for it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    @asynccontextmanager
    async def serving(self, to_registry: str) -> AsyncIterator[int]:
        """The port."""
        if self.name == "asyncio":
            async with self._asyncio(to_registry) as port:
                yield port
            return
        server, verifier, port = await asyncio.to_thread(self._threads, to_registry)
        try:
            yield port
        finally:
            await asyncio.to_thread(server.stop(None).wait)
            await asyncio.to_thread(verifier.__exit__, None, None, None)

    @asynccontextmanager
    async def _asyncio(self, to_registry: str) -> AsyncIterator[int]:
        async with (
            aio_channel(to_registry, retries=False) as channel,
            Verifier(channel) as verifier,
        ):
            interceptor = BearerInterceptor(verifier, REQUIREMENTS, domain="acme.tasks")
            server = grpc.aio.server(interceptors=[interceptor])
            server.add_registered_method_handlers(SERVICE[1:], HANDLERS)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            try:
                yield port
            finally:
                await server.stop(None)

    def _threads(self, to_registry: str) -> tuple[grpc.Server, BlockingVerifier, int]:
        verifier = BlockingVerifier(lambda: aio_channel(to_registry, retries=False))
        verifier.__enter__()
        interceptor = BlockingBearerInterceptor(verifier, REQUIREMENTS, domain="acme.tasks")
        # One thread: what a call leaves behind there, the next would find.
        pool = ThreadPoolExecutor(1)
        server = grpc.server(pool, interceptors=[interceptor])
        server.add_registered_method_handlers(SERVICE[1:], BLOCKING_HANDLERS)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return server, verifier, port


both = pytest.mark.parametrize("flavour", [Flavour("asyncio"), Flavour("threads")], ids=repr)


async def who(_request: Text, _context: Any) -> Text:
    return Text(value=principal().workspace_id)


async def who_thrice(_request: Text, _context: Any) -> AsyncIterator[Text]:
    for _ in range(3):
        yield Text(value=principal().workspace_id)


async def nobody(_request: Text, _context: Any) -> Text:
    with pytest.raises(LookupError):
        principal()
    return Text(value="nobody")


def blocking_who(_request: Text, _context: Any) -> Text:
    return Text(value=principal().workspace_id)


def blocking_who_thrice(_request: Text, _context: Any) -> Iterator[Text]:
    for _ in range(3):
        yield Text(value=principal().workspace_id)


def blocking_nobody(_request: Text, _context: Any) -> Text:
    with pytest.raises(LookupError):
        principal()
    return Text(value="nobody")


SHAPES: dict[str, Any] = {
    "request_deserializer": Text.FromString,
    "response_serializer": Text.SerializeToString,
}
HANDLERS: dict[str, Any] = {
    name: grpc.unary_unary_rpc_method_handler(who, **SHAPES)
    for name in ("Read", "Write", "Take", "OfWorkspace", "Forgotten")
}
HANDLERS["Stream"] = grpc.unary_stream_rpc_method_handler(who_thrice, **SHAPES)
BLOCKING_HANDLERS = {
    name: grpc.unary_unary_rpc_method_handler(blocking_who, **SHAPES)
    for name in ("Read", "Write", "Take", "OfWorkspace", "Forgotten")
}
BLOCKING_HANDLERS["Stream"] = grpc.unary_stream_rpc_method_handler(blocking_who_thrice, **SHAPES)
BLOCKING_HANDLERS["Open"] = grpc.unary_unary_rpc_method_handler(blocking_nobody, **SHAPES)
HANDLERS["Open"] = grpc.unary_unary_rpc_method_handler(nobody, **SHAPES)


class Tasks:
    """Calls the service with or without a bearer."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def call(
        self, method: str, bearer: Secret | None = TOKEN, value: str = "", *, seconds: float = 20.0
    ) -> str:
        rpc: Any = self._channel.unary_unary(
            f"{SERVICE}/{method}",
            request_serializer=Text.SerializeToString,
            response_deserializer=Text.FromString,
        )
        try:
            answer = await rpc(Text(value=value), metadata=_metadata(bearer), timeout=seconds)
        except grpc.RpcError as error:
            raise failure_from(error) from None
        return str(answer.value)

    async def stream(self, bearer: Secret | None = TOKEN) -> list[str]:
        rpc: Any = self._channel.unary_stream(
            f"{SERVICE}/Stream",
            request_serializer=Text.SerializeToString,
            response_deserializer=Text.FromString,
        )
        try:
            return [each.value async for each in rpc(Text(), metadata=_metadata(bearer))]
        except grpc.RpcError as error:
            raise failure_from(error) from None


def _metadata(bearer: Secret | None) -> tuple[tuple[str, str], ...]:
    return () if bearer is None else (("authorization", f"Bearer {bearer.reveal()}"),)


@asynccontextmanager
async def guarded(registry: TokenRegistry, flavour: Flavour) -> AsyncIterator[Tasks]:
    async with (
        serving(registry),
        flavour.serving(registry.address) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield Tasks(channel)


def known_tokens() -> TokenRegistry:
    registry = TokenRegistry()
    registry.admit(TOKEN, "w1")
    registry.admit(WRITER, "w2", scopes=["tasks:write"], kind=token_pb2.TOKEN_KIND_INSTANCE)
    return registry


@both
async def test_the_servicer_knows_who_calls(flavour: Flavour) -> None:
    async with guarded(known_tokens(), flavour) as tasks:
        assert await tasks.call("Read", TOKEN) == "w1"
        assert await tasks.call("Write", WRITER) == "w2"
        assert await tasks.call("Take", WRITER) == "w2"
        assert await tasks.stream(TOKEN) == ["w1", "w1", "w1"]
        assert await tasks.call("OfWorkspace", TOKEN, "w1") == "w1"
        assert await tasks.call("Open", None) == "nobody"
        assert await tasks.call("Read", WRITER) == "w2"


@both
@pytest.mark.parametrize(
    ("call", "code", "reason", "recovery"),
    [
        (("Read", None), "UNAUTHENTICATED", "BEARER_MISSING", Recovery.REGISTER),
        (("Read", Secret("junk")), "UNAUTHENTICATED", "BEARER_REJECTED", Recovery.REGISTER),
        (("OfWorkspace", TOKEN, "w2"), "UNAUTHENTICATED", "BEARER_REJECTED", Recovery.REGISTER),
        (("Write", TOKEN), "PERMISSION_DENIED", "TOKEN_SCOPE", Recovery.FIX_REQUEST),
        (("Take", TOKEN), "PERMISSION_DENIED", "TOKEN_KIND", Recovery.FIX_REQUEST),
        (("Forgotten", TOKEN), "PERMISSION_DENIED", "METHOD_CLOSED", Recovery.FIX_REQUEST),
    ],
    ids=["missing", "junk", "workspace", "scope", "kind", "not in the mapping"],
)
async def test_the_others_are_told_why_and_what_to_do(
    flavour: Flavour, call: tuple[Any, ...], code: str, reason: str, recovery: Recovery
) -> None:
    async with guarded(known_tokens(), flavour) as tasks:
        with pytest.raises(RpcFailure) as caught:
            await tasks.call(*call)
    failure = caught.value
    assert (failure.code.name, failure.domain) == (code, "acme.tasks")
    assert (failure.reason, failure.recovery) == (f"ERROR_REASON_{reason}", recovery)
    assert failure.correlation_id


@both
async def test_a_stream_is_refused_before_its_first_message(flavour: Flavour) -> None:
    async with guarded(known_tokens(), flavour) as tasks:
        with pytest.raises(RpcFailure, match="BEARER_MISSING"):
            await tasks.stream(None)


@both
async def test_when_nobody_can_tell_the_call_is_unavailable(flavour: Flavour) -> None:
    registry = known_tokens()
    registry.refusing = registry.silent = True
    async with guarded(registry, flavour) as tasks:
        with pytest.raises(RpcFailure) as caught:
            await tasks.call("Read")
    assert caught.value.code is StatusCode.UNAVAILABLE
    assert caught.value.recovery == Recovery.RETRY


@both
async def test_a_method_that_exists_nowhere_stays_unimplemented(flavour: Flavour) -> None:
    async with guarded(known_tokens(), flavour) as tasks:
        with pytest.raises(RpcFailure) as caught:
            await tasks.call("Missing")
    assert caught.value.code is StatusCode.UNIMPLEMENTED


@both
async def test_a_caller_s_deadline_is_answered_with_a_reason(flavour: Flavour) -> None:
    registry = known_tokens()
    registry.gate.clear()
    async with guarded(registry, flavour) as tasks:
        with pytest.raises(RpcFailure) as caught:
            await tasks.call("Read", seconds=1.0)
    failure = caught.value
    assert failure.code is StatusCode.DEADLINE_EXCEEDED
    assert (failure.reason, failure.recovery) == ("ERROR_REASON_DEADLINE", Recovery.RETRY)
    assert failure.correlation_id
