"""The drop-in interceptor: who gets through to a servicer, and how the others are answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import wrappers_pb2

from agentworkspace.client.channel import aio_channel
from agentworkspace.client.verifier import Requirement, Verifier
from agentworkspace.client.verifier.interceptor import BearerInterceptor, principal
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


async def who(_request: Text, _context: Any) -> Text:
    return Text(value=principal().workspace_id)


async def who_thrice(_request: Text, _context: Any) -> AsyncIterator[Text]:
    for _ in range(3):
        yield Text(value=principal().workspace_id)


async def nobody(_request: Text, _context: Any) -> Text:
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
HANDLERS["Open"] = grpc.unary_unary_rpc_method_handler(nobody, **SHAPES)


class Tasks:
    """Calls the service with or without a bearer."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def call(self, method: str, bearer: Secret | None = TOKEN, value: str = "") -> str:
        rpc: Any = self._channel.unary_unary(
            f"{SERVICE}/{method}",
            request_serializer=Text.SerializeToString,
            response_deserializer=Text.FromString,
        )
        try:
            answer = await rpc(Text(value=value), metadata=_metadata(bearer), timeout=20)
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
async def guarded(registry: TokenRegistry) -> AsyncIterator[Tasks]:
    async with (
        serving(registry),
        aio_channel(registry.address, retries=False) as to_registry,
        Verifier(to_registry) as verifier,
    ):
        interceptor = BearerInterceptor(verifier, REQUIREMENTS, domain="acme.tasks")
        server = grpc.aio.server(interceptors=[interceptor])
        server.add_registered_method_handlers(SERVICE[1:], HANDLERS)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield Tasks(channel)
        finally:
            await server.stop(None)


def known_tokens() -> TokenRegistry:
    registry = TokenRegistry()
    registry.admit(TOKEN, "w1")
    registry.admit(WRITER, "w2", scopes=["tasks:write"], kind=token_pb2.TOKEN_KIND_INSTANCE)
    return registry


async def test_the_servicer_knows_who_calls() -> None:
    async with guarded(known_tokens()) as tasks:
        assert await tasks.call("Read", TOKEN) == "w1"
        assert await tasks.call("Write", WRITER) == "w2"
        assert await tasks.call("Take", WRITER) == "w2"
        assert await tasks.stream(TOKEN) == ["w1", "w1", "w1"]
        assert await tasks.call("OfWorkspace", TOKEN, "w1") == "w1"
        assert await tasks.call("Open", None) == "nobody"


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
    call: tuple[Any, ...], code: str, reason: str, recovery: Recovery
) -> None:
    async with guarded(known_tokens()) as tasks:
        with pytest.raises(RpcFailure) as caught:
            await tasks.call(*call)
    failure = caught.value
    assert (failure.code.name, failure.domain) == (code, "acme.tasks")
    assert (failure.reason, failure.recovery) == (f"ERROR_REASON_{reason}", recovery)
    assert failure.correlation_id


async def test_a_stream_is_refused_before_its_first_message() -> None:
    async with guarded(known_tokens()) as tasks:
        with pytest.raises(RpcFailure, match="BEARER_MISSING"):
            await tasks.stream(None)


async def test_when_nobody_can_tell_the_call_is_unavailable() -> None:
    registry = known_tokens()
    registry.refusing = registry.silent = True
    async with guarded(registry) as tasks:
        with pytest.raises(RpcFailure) as caught:
            await tasks.call("Read")
    assert caught.value.code is StatusCode.UNAVAILABLE
    assert caught.value.recovery == Recovery.RETRY


async def test_a_method_that_exists_nowhere_stays_unimplemented() -> None:
    async with guarded(known_tokens()) as tasks:
        with pytest.raises(RpcFailure) as caught:
            await tasks.call("Missing")
    assert caught.value.code is StatusCode.UNIMPLEMENTED
