"""One caller, or one tenant, cannot hold all the room."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import Any

import grpc
import pytest

from agentworkspace.core.caller import Caller
from agentworkspace.rpc.errors import RpcFailure
from agentworkspace.server.edge_failures import EdgeFailures
from agentworkspace.server.shares import ShareLimits, Shares
from tests.rpc.echo_server import (
    LAUNCHER_SECRET,
    VERIFIER_SECRET,
    Parts,
    Text,
    failure_of,
    serving,
    story,
    stream_failure_of,
)

LIMITS = ShareLimits(
    calls_per_caller=2, calls_per_tenant=3, streams_per_caller=2, streams_per_tenant=3
)
VERIFIER = frozenset({"verifier"})
ACME_1 = Caller("acme-1", VERIFIER, frozenset({"acme"}))
ACME_2 = Caller("acme-2", VERIFIER, frozenset({"acme"}))
GLOBEX = Caller("globex", VERIFIER, frozenset({"globex"}))
EVERYWHERE = Caller("everywhere", VERIFIER, None)


def shares() -> Shares:
    return Shares(LIMITS, EdgeFailures(domain="edgetest").share_used_up)


@pytest.mark.parametrize("kind", ["enter", "enter_stream"])
def test_a_callers_share_ends_and_comes_back(kind: str) -> None:
    enter = getattr(shares(), kind)
    first = enter(EVERYWHERE)
    enter(EVERYWHERE)
    with pytest.raises(RpcFailure) as used_up:
        enter(EVERYWHERE)
    assert used_up.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert used_up.value.reason == "ERROR_REASON_RATE_LIMITED"
    assert used_up.value.metadata == {
        "of": "caller",
        "what": "calls" if kind == "enter" else "streams",
        "limit": "2",
    }
    assert used_up.value.retry_after is not None
    getattr(first, "leave" if kind == "enter" else "leave_stream")()
    enter(EVERYWHERE)


@pytest.mark.parametrize("kind", ["enter", "enter_stream"])
def test_callers_of_one_tenant_share_and_leave_the_others_theirs(kind: str) -> None:
    enter = getattr(shares(), kind)
    for caller in (ACME_1, ACME_1, ACME_2):
        enter(caller)
    with pytest.raises(RpcFailure) as used_up:
        enter(ACME_2)
    assert used_up.value.metadata["of"] == "tenant"
    for caller in (GLOBEX, GLOBEX, EVERYWHERE, EVERYWHERE):
        enter(caller)


def test_a_refused_call_holds_nothing() -> None:
    made = shares()
    for caller in (ACME_1, ACME_1, ACME_2):
        made.enter(caller)
    for _ in range(5):
        with pytest.raises(RpcFailure):
            made.enter(ACME_2)
    made.enter_stream(ACME_2).leave_stream()


@story
async def test_the_edge_keeps_calls_within_the_share_and_gives_it_back() -> None:
    inside, release = asyncio.Queue[None](), asyncio.Event()

    async def wait(request: Text, _context: Any) -> Text:
        inside.put_nowait(None)
        await release.wait()
        return request

    async with serving(say=wait, shares=LIMITS) as parts:
        held = [asyncio.ensure_future(parts.say(bearer=VERIFIER_SECRET)) for _ in range(2)]
        for _ in held:
            await inside.get()
        failure = await failure_of(parts.say(bearer=VERIFIER_SECRET))
        others = asyncio.ensure_future(parts.say(bearer=LAUNCHER_SECRET))
        await inside.get()
        boxes = [asyncio.ensure_future(parts.say(bearer="token")) for _ in range(5)]
        for _ in boxes:
            await inside.get()
        release.set()
        await asyncio.gather(*held, others, *boxes)
        await parts.say(bearer=VERIFIER_SECRET)
    assert failure.reason == "ERROR_REASON_RATE_LIMITED"
    assert failure.metadata == {"of": "caller", "what": "calls", "limit": "2"}


@story
async def test_the_edge_keeps_streams_within_the_share_and_gives_it_back() -> None:
    async def forever(request: Text, _context: Any) -> Any:
        yield request
        await asyncio.Event().wait()

    async with serving(counting=forever, shares=LIMITS) as parts:
        held = [parts.count(bearer=VERIFIER_SECRET) for _ in range(2)]
        for each in held:
            await anext(aiter(each))
        failure = await stream_failure_of(parts.count(bearer=VERIFIER_SECRET))
        other = parts.count(bearer=LAUNCHER_SECRET)
        await anext(aiter(other))
        held[0].cancel()
        again = await _first_stream_that_is_let_in(parts)
        for each in (held[1], other, again):
            each.cancel()
    assert failure.metadata == {"of": "caller", "what": "streams", "limit": "2"}


async def _first_stream_that_is_let_in(parts: Parts) -> Any:
    """The server hears of a cancelled stream a little later."""
    while True:
        stream = parts.count(bearer=VERIFIER_SECRET)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await anext(aiter(stream))
            return stream
        await asyncio.sleep(0.01)


def test_callers_that_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentworkspace.server.shares._MOST_CALLERS", 3)
    made = shares()
    made.enter(ACME_1)
    for name in "abcdef":
        tenant = hashlib.sha256(name.encode()).hexdigest()
        made.enter(Caller(name, VERIFIER, frozenset({tenant}))).leave()
    assert len(made._by_caller) <= 3
    assert len(made._by_tenants) <= 3
    assert ACME_1 in made._by_caller
