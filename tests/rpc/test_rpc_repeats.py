"""What a channel of ours makes again: calls that change nothing, or carry a request_id."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message

from agentworkspace.client.channel import aio_channel, blocking_channel
from agentworkspace.client.repeats import Repeats
from agentworkspace.provision.v1 import workspace_service_pb2 as provision
from agentworkspace.registry.v1 import token_service_pb2 as pb
from agentworkspace.registry.v1 import workspace_registry_service_pb2
from agentworkspace.registry.v1.token_service_pb2_grpc import TokenServiceStub
from agentworkspace.rpc.errors import RpcFailure, to_trailing
from agentworkspace.rpc.idempotency import may_be_repeated, with_request_id

StatusCode = grpc.StatusCode

NOT_NOW = RpcFailure(StatusCode.UNAVAILABLE, "test", "ERROR_REASON_STORE_UNAVAILABLE", "not now")
UNKNOWN_OUTCOME = RpcFailure(
    StatusCode.UNAVAILABLE, "test", "ERROR_REASON_OUTCOME_UNKNOWN", "it may have been made"
)
SHED = RpcFailure(StatusCode.CANCELLED, "", "", "gRPC's own, without a word")
HUNG_UP = RpcFailure(StatusCode.CANCELLED, "test", "ERROR_REASON_CANCELLED", "you hung up")
OVERLOADED = RpcFailure(
    StatusCode.RESOURCE_EXHAUSTED, "test", "ERROR_REASON_OVERLOADED", "too many calls"
)
CONFLICT = RpcFailure(StatusCode.ABORTED, "test", "ERROR_REASON_CONFLICT", "lost a race")


class Stranger(grpc.GenericRpcHandler):
    """Fails calls in turn as told, then answers; keeps the requests that arrived."""

    def __init__(self, failures: Sequence[RpcFailure]) -> None:
        self._failures = list(failures)
        self.arrived: list[bytes] = []

    def service(self, handler_call_details: Any) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            self.arrived.append(request)
            if self._failures:
                failure = self._failures.pop(0)
                trailing = to_trailing(failure, "id-1") if failure.reason else ()
                await context.abort(failure.code, failure.message, trailing)
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def serving(stranger: Stranger) -> AsyncIterator[str]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((stranger,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


Ask = Callable[[str, str, Message], Any]


async def ask_with_asyncio(address: str, method: str, request: Message) -> None:
    async with aio_channel(address) as channel:
        await getattr(TokenServiceStub(channel), method)(request, timeout=30)


async def ask_from_a_thread(address: str, method: str, request: Message) -> None:
    def ask() -> None:
        with blocking_channel(address) as channel:
            getattr(TokenServiceStub(channel), method)(request, timeout=30)

    await asyncio.to_thread(ask)


both = pytest.mark.parametrize("ask", [ask_with_asyncio, ask_from_a_thread])
READ = ("ListTokens", pb.ListTokensRequest(workspace_id="w"))
REVOKE = ("RevokeToken", pb.RevokeTokenRequest(workspace_id="w"))


@both
@pytest.mark.parametrize("failure", [NOT_NOW, SHED])
async def test_a_call_that_changes_nothing_is_made_again(ask: Ask, failure: RpcFailure) -> None:
    stranger = Stranger([failure])
    async with serving(stranger) as address:
        await ask(address, *READ)
    assert len(stranger.arrived) == 2


@both
@pytest.mark.parametrize("failure", [NOT_NOW, UNKNOWN_OUTCOME, SHED])
async def test_a_call_with_a_request_id_is_made_again_with_the_same_one(
    ask: Ask, failure: RpcFailure
) -> None:
    stranger, request_id = Stranger([failure]), str(uuid.uuid4())
    request = pb.MintTokenRequest(workspace_id="w", request_id=request_id)
    async with serving(stranger) as address:
        await ask(address, "MintToken", request)
    assert [pb.MintTokenRequest.FromString(each) for each in stranger.arrived] == [request] * 2


@both
async def test_a_request_that_takes_an_id_and_has_none_leaves_with_one(ask: Ask) -> None:
    stranger = Stranger([UNKNOWN_OUTCOME])
    request = pb.MintTokenRequest(workspace_id="w")
    async with serving(stranger) as address:
        await ask(address, "MintToken", request)
    first, second = (pb.MintTokenRequest.FromString(each) for each in stranger.arrived)
    assert first == second
    assert str(uuid.UUID(first.request_id)) == first.request_id
    assert first.workspace_id == "w"
    assert request.request_id == "", "the caller's own message is left alone"


@both
@pytest.mark.parametrize("failure", [NOT_NOW, UNKNOWN_OUTCOME, SHED])
async def test_what_changes_something_and_takes_no_id_is_made_once(
    ask: Ask, failure: RpcFailure
) -> None:
    stranger = Stranger([failure])
    async with serving(stranger) as address:
        with pytest.raises(grpc.RpcError) as caught:
            await ask(address, *REVOKE)
    assert caught.value.code() is failure.code
    assert len(stranger.arrived) == 1


@both
@pytest.mark.parametrize("failure", [OVERLOADED, CONFLICT, HUNG_UP])
async def test_an_answer_that_was_given_is_not_asked_for_again(
    ask: Ask, failure: RpcFailure
) -> None:
    stranger = Stranger([failure])
    async with serving(stranger) as address:
        with pytest.raises(grpc.RpcError) as caught:
            await ask(address, *READ)
    assert caught.value.code() is failure.code
    assert len(stranger.arrived) == 1


@both
async def test_four_attempts_are_made_and_no_more(ask: Ask) -> None:
    stranger = Stranger([SHED] * 9)
    async with serving(stranger) as address:
        with pytest.raises(grpc.RpcError):
            await ask(address, *READ)
    assert len(stranger.arrived) == 4


async def test_a_channel_without_retries_makes_every_call_once() -> None:
    stranger = Stranger([SHED])
    async with serving(stranger) as address, aio_channel(address, retries=False) as channel:
        with pytest.raises(grpc.RpcError):
            await TokenServiceStub(channel).ListTokens(READ[1], timeout=30)
    assert len(stranger.arrived) == 1


async def test_what_was_begun_as_a_future_is_made_once_and_at_once() -> None:
    stranger = Stranger([SHED])

    def ask(address: str) -> grpc.StatusCode:
        with blocking_channel(address) as channel:
            call = TokenServiceStub(channel).ListTokens.future(READ[1], timeout=30)
            failed: Any = call.exception()
            code: grpc.StatusCode = failed.code()
            return code

    async with serving(stranger) as address:
        assert await asyncio.to_thread(ask, address) is StatusCode.CANCELLED
    assert len(stranger.arrived) == 1


def test_a_failure_that_says_why_is_not_turned_into_a_bare_deadline() -> None:
    later = RpcFailure(
        StatusCode.UNAVAILABLE, "test", "X", "in a while", retry_after=timedelta(seconds=5)
    )
    assert Repeats(1.0, monotonic=lambda: 0.0).wait_after(later) is None
    assert Repeats(None, monotonic=lambda: 0.0).wait_after(later) is not None


def test_all_attempts_share_the_deadline_of_the_call() -> None:
    clock = iter([100.0, 100.5, 103.0])
    repeats = Repeats(30.0, monotonic=lambda: next(clock))
    assert repeats.wait_after(SHED) is not None
    assert repeats.left() == 27.0


def test_a_server_s_hint_is_waited_for() -> None:
    later = RpcFailure(
        StatusCode.UNAVAILABLE, "test", "X", "in a while", retry_after=timedelta(seconds=1)
    )
    seconds = Repeats(30.0, monotonic=lambda: 0.0).wait_after(later)
    assert seconds is not None
    assert seconds >= 1.0


def test_only_a_field_of_that_name_is_filled_in() -> None:
    bare = pb.ListTokensRequest(workspace_id="w")
    assert with_request_id(bare, "id") is bare
    own = provision.CreateWorkspaceRequest(request_id="mine")
    assert with_request_id(own, "id") is own
    assert with_request_id(provision.CreateWorkspaceRequest(), "id").request_id == "id"


@pytest.mark.parametrize(
    ("request_ids", "repeated"),
    [(["a", "b"], True), (["a", ""], False), (["", ""], False), ([], False)],
)
def test_a_call_for_many_is_repeated_when_each_of_them_is_recognised(
    request_ids: list[str], repeated: bool
) -> None:
    method = "/agentworkspace.registry.v1.WorkspaceRegistryService/BatchBeginIncarnations"
    request = workspace_registry_service_pb2.BatchBeginIncarnationsRequest(
        requests=[
            workspace_registry_service_pb2.BeginIncarnationRequest(request_id=each)
            for each in request_ids
        ]
    )
    assert may_be_repeated(method, request) is repeated
