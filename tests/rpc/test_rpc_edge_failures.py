"""What a client sees when something fails, and what it never sees."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2_grpc

from agentworkspace.core.refusal import Recovery, Violation
from agentworkspace.rpc.errors import RpcFailure
from tests.rpc.echo_server import (
    Text,
    failure_of,
    serving,
    story,
    stream_failure_of,
)

StatusCode = grpc.StatusCode
MARK = "password=hunter2 SELECT * FROM tokens"


async def explode(_request: Text, _context: Any) -> Text:
    raise RuntimeError(MARK)


async def explode_later(_request: Text, _context: Any) -> AsyncIterator[Text]:
    yield Text(value="first")
    raise RuntimeError(MARK)


async def wait_for_ever(_request: Text, _context: Any) -> Text:
    await asyncio.Event().wait()
    raise AssertionError


@story
async def test_an_exceptions_text_never_reaches_the_client() -> None:
    async with serving(say=explode) as parts:
        call = parts.say()
        failure = await failure_of(call)
        everything = f"{await call.details()} {await call.trailing_metadata()} {failure!r}"
    assert failure.code is StatusCode.INTERNAL
    assert failure.reason == "ERROR_REASON_INTERNAL"
    assert "hunter2" not in everything
    assert "SELECT" not in everything
    assert "RuntimeError" not in everything


@story
async def test_an_exception_in_the_middle_of_a_stream_is_worded_like_any_other() -> None:
    async with serving(counting=explode_later) as parts:
        call = parts.count(correlation_id="stream-1")
        first = await anext(aiter(call))
        failure = await stream_failure_of(call)
    assert first.value == "first"
    assert failure.code is StatusCode.INTERNAL
    assert failure.reason == "ERROR_REASON_INTERNAL"
    assert failure.correlation_id == "stream-1"
    assert "hunter2" not in failure.message


@story
async def test_the_inside_of_a_fault_goes_to_the_log_under_the_correlation_id() -> None:
    async with serving(say=explode) as parts:
        failure = await failure_of(parts.say())
        line = parts.log.events[-1]
    assert line["level"] == "error"
    assert line["correlation_id"] == failure.correlation_id
    assert isinstance(line["exc_info"], RuntimeError)


@story
async def test_an_answer_of_the_wrong_type_is_a_fault_and_leaks_nothing() -> None:
    async def wrong(_request: Text, _context: Any) -> Any:
        return {"token": MARK}

    async def nothing(_request: Text, _context: Any) -> Any:
        return None

    for say in (wrong, nothing):
        async with serving(say=say) as parts:
            failure = await failure_of(parts.say())
        assert failure.code is StatusCode.INTERNAL
        assert failure.message == "something broke here"


@story
async def test_a_translation_that_fails_itself_still_leaks_nothing() -> None:
    def broken(error: Exception) -> RpcFailure:
        raise ValueError(f"no words for {error}")

    def wordless(_error: Exception) -> Any:
        return None

    for translate in (broken, wordless):
        async with serving(say=explode, translate=translate) as parts:
            failure = await failure_of(parts.say())
        assert failure.code is StatusCode.INTERNAL
        assert failure.reason == "ERROR_REASON_INTERNAL"
        assert "hunter2" not in failure.message


@story
async def test_a_failure_that_a_servicer_raises_arrives_whole() -> None:
    async def refuse(_request: Text, _context: Any) -> Text:
        raise RpcFailure(
            StatusCode.FAILED_PRECONDITION,
            "edgetest",
            "ERROR_REASON_WORKSPACE_SUSPENDED",
            "the workspace is suspended — by its operator",
            metadata={"workspace_id": "w-1"},
            violations=(Violation("a.b", "is wrong"),),
            retry_after=timedelta(seconds=7),
            recovery=Recovery.STOP,
        )

    async with serving(say=refuse) as parts:
        failure = await failure_of(parts.say(correlation_id="abc"))
    assert failure.code is StatusCode.FAILED_PRECONDITION
    assert failure.domain == "edgetest"
    assert failure.reason == "ERROR_REASON_WORKSPACE_SUSPENDED"
    assert failure.message == "the workspace is suspended — by its operator"
    assert failure.metadata == {"workspace_id": "w-1"}
    assert failure.violations == (Violation("a.b", "is wrong"),)
    assert failure.retry_after == timedelta(seconds=7)
    assert failure.recovery == "STOP"
    assert failure.correlation_id == "abc"


@story
async def test_reason_and_recovery_are_also_there_without_google_types() -> None:
    async with serving(say=explode) as parts:
        call = parts.say(correlation_id="abc")
        await failure_of(call)
        trailing = dict(await call.trailing_metadata())
    assert trailing["agentworkspace-reason"] == "ERROR_REASON_INTERNAL"
    assert trailing["agentworkspace-recovery"] == "RETRY"
    assert trailing["agentworkspace-correlation-id"] == "abc"


@story
async def test_bytes_that_are_no_message_are_an_invalid_argument() -> None:
    async with serving() as parts:
        failure = await failure_of(parts.say_bytes(b"\xff\xff\xff\xff not a message"))
    assert failure.code is StatusCode.INVALID_ARGUMENT
    assert failure.reason == "ERROR_REASON_MALFORMED_MESSAGE"
    assert failure.recovery == "FIX_REQUEST"


@story
async def test_text_that_is_no_utf8_is_an_invalid_argument() -> None:
    async with serving() as parts:
        failure = await failure_of(parts.say_bytes(b"\x0a\x02\xc3\x28"))
    assert failure.code is StatusCode.INVALID_ARGUMENT
    assert failure.reason == "ERROR_REASON_MALFORMED_MESSAGE"


@story
async def test_an_empty_message_is_a_message() -> None:
    async with serving() as parts:
        assert await parts.say_bytes(b"") == b""


@story
async def test_bad_bytes_are_named_before_identity_is_asked_for() -> None:
    async with serving() as parts:
        failure = await failure_of(parts.raw("/edgetest.v1.Echo/Launch", b"\xff\xff"))
    assert failure.reason == "ERROR_REASON_MALFORMED_MESSAGE"


@story
async def test_a_method_nobody_wrote_yet_says_so() -> None:
    placeholders = health_pb2_grpc.HealthServicer()
    async with serving(say=placeholders.Check, counting=placeholders.Watch) as parts:
        unary = await failure_of(parts.say())
        stream = await stream_failure_of(parts.count())
    for failure, method in ((unary, "Say"), (stream, "Count")):
        assert failure.code is StatusCode.UNIMPLEMENTED
        assert failure.reason == "ERROR_REASON_NOT_AVAILABLE_YET"
        assert failure.metadata == {"method": f"/edgetest.v1.Echo/{method}"}


@story
async def test_an_unfinished_corner_inside_a_written_method_is_a_fault() -> None:
    async def corner(_request: Text, _context: Any) -> Text:
        raise NotImplementedError

    async with serving(say=corner) as parts:
        assert (await failure_of(parts.say())).code is StatusCode.INTERNAL


@story
async def test_an_unknown_method_is_unimplemented() -> None:
    async with serving() as parts:
        for method in ("/edgetest.v1.Echo/Other", "/other.Service/Say"):
            failure = await failure_of(parts.raw(method, b""))
            assert failure.code is StatusCode.UNIMPLEMENTED


@story
async def test_unavailable_and_exhausted_always_carry_a_delay() -> None:
    for code in (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED):

        async def refuse(_request: Text, _context: Any, code: grpc.StatusCode = code) -> Text:
            raise RpcFailure(code, "edgetest", "ERROR_REASON_X", "come back")

        async with serving(say=refuse) as parts:
            failure = await failure_of(parts.say())
        assert failure.code is code
        assert failure.retry_after == timedelta(seconds=1)


@story
async def test_a_thousand_violations_still_arrive_as_an_invalid_argument() -> None:
    violations = [Violation(f"items[{n}].workspace_id", "not a UUID" * 9) for n in range(1000)]

    async def refuse(_request: Text, _context: Any) -> Text:
        raise RpcFailure(
            StatusCode.INVALID_ARGUMENT,
            "edgetest",
            "ERROR_REASON_INVALID_REQUEST",
            "é" * 5000,
            metadata={"fields": "x" * 5000},
            violations=violations,
        )

    async with serving(say=refuse) as parts:
        failure = await failure_of(parts.say())
    assert failure.code is StatusCode.INVALID_ARGUMENT
    assert failure.violations[0] == violations[0]
    told = len(failure.violations) - 1
    assert told > 5
    assert failure.violations[-1] == Violation("", f"and {1000 - told} more")


@story
async def test_an_abort_by_the_servicer_passes_as_it_is() -> None:
    async def abort(_request: Text, context: Any) -> Text:
        await context.abort(StatusCode.OUT_OF_RANGE, "as I said")
        raise AssertionError

    async with serving(say=abort) as parts:
        failure = await failure_of(parts.say(correlation_id="abc"))
    assert failure.code is StatusCode.OUT_OF_RANGE
    assert failure.message == "as I said"
    assert failure.correlation_id == "abc"


@story
async def test_a_cancellation_underneath_a_call_is_an_answer_and_not_silence() -> None:
    async def wait_for_a_cancelled_batch(_request: Text, _context: Any) -> Text:
        batch: asyncio.Future[Text] = asyncio.get_running_loop().create_future()
        batch.cancel()
        return await batch

    async with serving(say=wait_for_a_cancelled_batch) as parts:
        failure = await failure_of(parts.say())
    assert failure.code is StatusCode.INTERNAL
    assert failure.recovery == "RETRY"


@story
async def test_a_caller_that_hangs_up_cancels_the_servicer_and_leaves_nothing_running() -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def wait(_request: Text, _context: Any) -> Text:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        raise AssertionError

    async with serving(say=wait) as parts:
        call = parts.say()
        await entered.wait()
        call.cancel()
        await left.wait()
        assert await parts.edge.capacity.drained(5)
        assert parts.log.events[-1]["code"] == "CANCELLED"
        with contextlib.suppress(asyncio.CancelledError):
            await call


@pytest.mark.parametrize(
    "kind", [ValueError, KeyError, AssertionError, RecursionError, MemoryError]
)
@story
async def test_no_kind_of_exception_gets_past_the_edge(kind: type[Exception]) -> None:
    async def explode_so(_request: Text, _context: Any) -> Text:
        raise kind(MARK)

    async with serving(say=explode_so) as parts:
        failure = await failure_of(parts.say())
    assert failure.message == "something broke here"
