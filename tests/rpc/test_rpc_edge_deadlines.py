"""No call runs for ever, and what ran out of time says so."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from agentworkspace.rpc import calls
from agentworkspace.rpc.errors import DETAILS_KEY
from agentworkspace.server.meanings import too_late
from tests.rpc.echo_server import SAY, Text, echo, failure_of, make_edge, mounted, serving, story

StatusCode = grpc.StatusCode


class Aborted(Exception):
    pass


class LateContext:
    """A call whose deadline had passed when it arrived; a real client would not even send it."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.trailing: dict[str, Any] = {}

    def time_remaining(self) -> float:
        return 0.0

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def set_trailing_metadata(self, metadata: Any) -> None:
        self.trailing = dict(metadata)

    async def abort(self, code: grpc.StatusCode, _details: str, trailing: Any) -> None:
        self.code = code
        self.trailing = dict(trailing)
        raise Aborted


@story
async def test_a_call_that_arrives_too_late_executes_nothing() -> None:
    executed = False

    async def note(request: Text, _context: Any) -> Text:
        nonlocal executed
        executed = True
        return request

    context = LateContext()
    handler = mounted(make_edge(), say=note).method(SAY)
    with pytest.raises(Aborted):
        await handler.unary_unary(b"", context)
    assert context.code is StatusCode.DEADLINE_EXCEEDED
    assert context.trailing["agentworkspace-reason"] == "ERROR_REASON_DEADLINE"
    assert context.trailing["agentworkspace-recovery"] == "RETRY"
    assert DETAILS_KEY in context.trailing
    assert not executed


@story
async def test_a_call_without_a_deadline_ends_at_the_servers_ceiling() -> None:
    cancelled = asyncio.Event()

    async def wait(_request: Text, _context: Any) -> Text:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    async with serving(say=wait, unary_ceiling_seconds=0.05) as parts:
        failure = await failure_of(parts.say(timeout=None))
    assert failure.code is StatusCode.DEADLINE_EXCEEDED
    assert failure.reason == "ERROR_REASON_DEADLINE"
    assert cancelled.is_set()


@story
async def test_a_fault_after_the_ceiling_is_the_deadline_and_not_a_fault() -> None:
    async def drop_the_connection(_request: Text, _context: Any) -> Text:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("connection already closed") from None
        raise AssertionError

    async with serving(say=drop_the_connection, unary_ceiling_seconds=0.05) as parts:
        failure = await failure_of(parts.say(timeout=None))
    assert failure.code is StatusCode.DEADLINE_EXCEEDED
    assert failure.reason == "ERROR_REASON_DEADLINE"


@story
async def test_a_fault_after_the_caller_hung_up_is_no_fault_in_the_log() -> None:
    entered = asyncio.Event()

    async def drop_the_connection(_request: Text, _context: Any) -> Text:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("connection already closed") from None
        raise AssertionError

    async with serving(say=drop_the_connection) as parts:
        call = parts.say()
        await entered.wait()
        call.cancel()
        assert await parts.edge.capacity.drained(5)
        line = parts.log.events[-1]
    assert line["code"] == "CANCELLED"
    assert line["level"] != "error"


@story
async def test_a_timeout_of_the_servicers_own_is_not_the_calls_deadline() -> None:
    async def wait_briefly(_request: Text, _context: Any) -> Text:
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        raise AssertionError

    async with serving(say=wait_briefly) as parts:
        failure = await failure_of(parts.say())
    assert failure.code is StatusCode.INTERNAL


@story
async def test_the_budget_is_the_smaller_of_the_clients_and_the_ceiling() -> None:
    seen: list[float] = []

    async def note(request: Text, _context: Any) -> Text:
        seen.append(calls.current().remaining())
        return request

    async with serving(say=note, unary_ceiling_seconds=30) as parts:
        await parts.say(timeout=5)
        await parts.say(timeout=500)
        await parts.say(timeout=None)
    # On the wire a time-out has three digits and is rounded up: 5 s may travel as 5.01.
    assert 0 < seen[0] <= 5.01
    assert 5.01 < seen[1] <= 30
    assert 5.01 < seen[2] <= 30


@story
async def test_a_servicer_is_stopped_when_the_clients_deadline_passes() -> None:
    stopped = asyncio.Event()

    async def wait(_request: Text, _context: Any) -> Text:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    async with serving(say=wait) as parts:
        failure = await failure_of(parts.say(timeout=0.1))
        await stopped.wait()
        assert await parts.edge.capacity.drained(5)
    assert failure.code is StatusCode.DEADLINE_EXCEEDED


@story
async def test_streams_know_no_ceiling() -> None:
    seen: list[float] = []

    async def note(_request: Text, _context: Any) -> AsyncIterator[Text]:
        seen.append(calls.current().remaining())
        yield Text(value="one")

    async with serving(counting=note, unary_ceiling_seconds=0.001) as parts:
        assert [each.value async for each in parts.count(timeout=None)] == ["one"]
    assert seen == [math.inf] or seen[0] > 10_000_000


@story
async def test_a_streams_own_deadline_stops_it() -> None:
    stopped = asyncio.Event()

    async def wait(_request: Text, _context: Any) -> AsyncIterator[Text]:
        try:
            yield Text(value="one")
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with serving(counting=wait) as parts:
        call = parts.count(timeout=1)
        assert (await anext(aiter(call))).value == "one"
        assert await call.code() is StatusCode.DEADLINE_EXCEEDED
        await stopped.wait()
        assert await parts.edge.capacity.drained(5)


@story
async def test_the_deadline_scope_leaves_the_task_as_it_found_it() -> None:
    async with serving(say=echo, unary_ceiling_seconds=0.05) as parts:
        for _ in range(3):
            assert (await parts.say("again", timeout=None)).value == "again"


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        (
            "/agentworkspace.registry.v1.TokenService/MintToken",
            (
                "the deadline passed before the answer was ready; a change may have been made:"
                " repeat the call with the same request_id and more time"
            ),
        ),
        (
            "/agentworkspace.registry.v1.TokenService/ListTokens",
            "the deadline passed before the answer was ready; call again with more time",
        ),
    ],
)
def test_a_deadline_says_whether_a_change_may_have_been_made(method: str, sentence: str) -> None:
    assert too_late(method).message == sentence
