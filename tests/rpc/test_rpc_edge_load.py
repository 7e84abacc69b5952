"""Room: boxes that storm are turned away early, and the control plane still gets in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agentworkspace.rpc.policy import Lane, Rule
from agentworkspace.server.capacity import Capacity
from registry_service.api import policy as registry_policy
from tests.rpc.echo_server import (
    COUNT,
    LAUNCH,
    LAUNCHER_SECRET,
    POLICY,
    SAY,
    Text,
    failure_of,
    make_edge,
    mounted,
    serving,
    story,
    stream_failure_of,
)

StatusCode = grpc.StatusCode


class Gate:
    """A behaviour that waits until it is opened, and tells how many wait."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._waiting = 0
        self.full = asyncio.Event()
        self.open = asyncio.Event()

    def behaviour(self) -> Any:
        async def wait(request: Text, _context: Any) -> Text:
            self._waiting += 1
            if self._waiting == self._expected:
                self.full.set()
            await self.open.wait()
            return request

        return wait


@story
async def test_above_the_limit_boxes_are_told_when_to_come_back() -> None:
    gate = Gate(expected=2)
    async with serving(
        say=gate.behaviour(),
        max_in_flight=3,
        control_reserve=1,
        overload_retry_after=timedelta(seconds=3),
    ) as parts:
        running = [asyncio.ensure_future(parts.say()) for _ in range(2)]
        await gate.full.wait()
        refused = await failure_of(parts.say())
        gate.open.set()
        await asyncio.gather(*running)
        assert (await parts.say("room again")).value == "room again"
    assert refused.code is StatusCode.RESOURCE_EXHAUSTED
    assert refused.reason == "ERROR_REASON_OVERLOADED"
    assert refused.retry_after == timedelta(seconds=3)
    assert refused.recovery == "RETRY"


@story
async def test_the_control_plane_uses_the_reserve_while_boxes_storm() -> None:
    gate = Gate(expected=2)
    async with serving(say=gate.behaviour(), max_in_flight=3, control_reserve=1) as parts:
        running = [asyncio.ensure_future(parts.say()) for _ in range(2)]
        await gate.full.wait()
        launched = await parts.launch("go", bearer=LAUNCHER_SECRET)
        gate.open.set()
        await asyncio.gather(*running)
    assert launched.value == "go"


def test_what_comes_in_crowds_waits_in_a_queue_of_its_own_and_all_else_behind_one_door() -> None:
    server = mounted(make_edge())
    assert list(server.registered) == [SAY]
    assert all(server.behind_the_door(name) for name in (LAUNCH, COUNT))


def test_boxes_and_verifiers_wait_in_queues_of_their_own_at_the_registry() -> None:
    crowds = {
        name.rpartition("/")[2] for name, rule in registry_policy.POLICY.items() if rule.crowd
    }
    verifiers = {"ValidateToken", "BatchValidateTokens", "WatchRevocations"}
    assert crowds == verifiers | {"Register", "Heartbeat", "UpdateCard", "Deregister", "WhoAmI"}


@story
async def test_the_reserve_has_an_end_too() -> None:
    gate = Gate(expected=2)
    behaviour = gate.behaviour()
    async with serving(launch=behaviour, max_in_flight=2, control_reserve=1) as parts:
        running = [asyncio.ensure_future(parts.launch(bearer=LAUNCHER_SECRET)) for _ in range(2)]
        await gate.full.wait()
        refused = await failure_of(parts.launch(bearer=LAUNCHER_SECRET))
        gate.open.set()
        await asyncio.gather(*running)
    assert refused.reason == "ERROR_REASON_OVERLOADED"


@story
async def test_streams_are_counted_apart() -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    async def watch(_request: Text, _context: Any) -> AsyncIterator[Text]:
        yield Text(value="one")
        started.set()
        await finish.wait()

    async with serving(counting=watch, max_in_flight=1, control_reserve=0, max_streams=1) as parts:
        stream = parts.count()
        await anext(aiter(stream))
        await started.wait()
        assert (await parts.say("beside it")).value == "beside it"
        refused = await stream_failure_of(parts.count())
        finish.set()
        async for _ in stream:
            pass
    assert refused.code is StatusCode.RESOURCE_EXHAUSTED
    assert refused.reason == "ERROR_REASON_OVERLOADED"


@story
async def test_every_end_of_a_call_gives_its_room_back() -> None:
    async def explode(_request: Text, _context: Any) -> Text:
        raise RuntimeError

    async with serving(say=explode, max_in_flight=2, control_reserve=1) as parts:
        for _ in range(5):
            assert (await failure_of(parts.say())).code is StatusCode.INTERNAL
            await failure_of(parts.say_bytes(b"\xff\xff"))
            await failure_of(parts.launch())
        assert await parts.edge.capacity.drained(5)
        assert parts.edge.capacity.in_flight == 0


@story
async def test_calls_are_counted_by_method_code_and_reason() -> None:
    async with serving() as parts:
        await parts.say()
        await parts.say()
        await failure_of(parts.launch())
        async for _ in parts.count():
            pass
        assert await parts.edge.capacity.drained(5)
        value = parts.metrics.get_sample_value
        assert (
            value(
                "agentworkspace_rpc_calls_total",
                {"method": SAY, "caller": "nobody", "code": "OK", "reason": ""},
            )
            == 2
        )
        assert (
            value(
                "agentworkspace_rpc_calls_total",
                {
                    "method": "/edgetest.v1.Echo/Launch",
                    "caller": "nobody",
                    "code": "UNAUTHENTICATED",
                    "reason": "ERROR_REASON_CREDENTIAL_MISSING",
                },
            )
            == 1
        )
        assert value("agentworkspace_rpc_seconds_count", {"method": COUNT, "caller": "nobody"}) == 1
        assert (
            value(
                "agentworkspace_rpc_seconds_bucket",
                {"method": SAY, "caller": "nobody", "le": "+Inf"},
            )
            == 2
        )
        assert value("agentworkspace_rpc_running", {"kind": "unary"}) == 0


@story
async def test_one_line_a_call_says_who_what_and_how_it_ended() -> None:
    async with serving(policy={**POLICY, SAY: Rule(any_caller=True, quiet=True)}) as parts:
        await parts.launch("confidential", bearer=LAUNCHER_SECRET, correlation_id="abc")
        await parts.say("confidential", bearer=LAUNCHER_SECRET)
        assert await parts.edge.capacity.drained(5)
        launched, said = parts.log.events
    assert launched["level"] == "info"
    assert launched["method"] == "/edgetest.v1.Echo/Launch"
    assert launched["caller"] == "launch-1"
    assert launched["code"] == "OK"
    assert launched["correlation_id"] == "abc"
    assert launched["ms"] >= 0
    assert said["level"] == "debug"
    assert "confidential" not in str(parts.log.events)
    assert LAUNCHER_SECRET not in str(parts.log.events)


@story
async def test_only_what_is_on_record_tells_a_correlation_id_that_nobody_sent() -> None:
    quiet = {
        rpc: Rule(any_caller=True, quiet=True, lane=lane)
        for rpc, lane in ((SAY, Lane.AGENT), (LAUNCH, Lane.CONTROL))
    }
    async with serving(policy={**POLICY, **quiet}) as parts:
        said, launched = parts.say(bearer=LAUNCHER_SECRET), parts.launch(bearer=LAUNCHER_SECRET)
        await asyncio.gather(said, launched)
        assert dict(await said.trailing_metadata()) == {}
        assert list(dict(await launched.trailing_metadata())) == ["agentworkspace-correlation-id"]


def test_a_reserve_that_leaves_boxes_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="control_reserve"):
        Capacity(max_in_flight=4, control_reserve=4, max_streams=1)


@story
async def test_a_storm_of_boxes_stands_in_a_queue_of_its_own() -> None:
    async with serving() as parts:
        await parts.say("the connection stands")
        storm = [asyncio.ensure_future(parts.say(str(number))) for number in range(600)]
        answer = await parts.launch(bearer=LAUNCHER_SECRET)
        waiting = sum(not each.done() for each in storm)
        await asyncio.gather(*storm)
    assert answer.value == "hello"
    assert waiting > 300


@story
async def test_health_is_answered_whatever_else_storms() -> None:
    async with serving() as parts:
        await parts.server.set_health(serving=True)
        nothing: Any = parts.channel.unary_unary("/no.such/Method")
        await parts.say("the connection stands")
        storm = [asyncio.ensure_future(_ended(nothing(b""))) for _ in range(2500)]
        health: Any = health_pb2_grpc.HealthStub(parts.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=20)
        waiting = sum(not each.done() for each in storm)
        await asyncio.gather(*storm)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert waiting > 500


async def _ended(call: grpc.aio.UnaryUnaryCall[bytes, bytes]) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError):
        await call
