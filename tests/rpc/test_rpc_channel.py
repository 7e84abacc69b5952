"""Client channels: what they add to a call, what they repeat, what they make of a failure."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import grpc
import pytest

from agentworkspace.client.channel import (
    aio_channel,
    blocking_channel,
    call_metadata,
)
from agentworkspace.core.refusal import Recovery
from agentworkspace.core.secret import Secret
from agentworkspace.rpc import calls
from agentworkspace.rpc.errors import failure_from
from tests.rpc.echo_server import COUNT, SAY, Parts, Text, serving, story

StatusCode = grpc.StatusCode
SHAPES: dict[str, Any] = {
    "request_serializer": Text.SerializeToString,
    "response_deserializer": Text.FromString,
}


class Arrivals:
    """A behaviour that keeps (bearer, correlation id)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str | None, str]] = []

    def behaviour(self) -> Any:
        async def say(request: Text, _context: Any) -> Text:
            call = calls.current()
            bearer = None if call.bearer is None else call.bearer.reveal()
            self.seen.append((bearer, call.correlation_id))
            return request

        return say


def target(parts: Parts) -> str:
    return f"127.0.0.1:{parts.port}"


@story
async def test_calls_carry_the_bearer_and_a_fresh_correlation_id() -> None:
    arrivals = Arrivals()
    async with (
        serving(say=arrivals.behaviour()) as parts,
        aio_channel(target(parts), bearer=Secret("awi_one")) as channel,
    ):
        say = channel.unary_unary(SAY, **SHAPES)
        await say(Text(), timeout=20)
        await say(Text(), timeout=20)
    assert [bearer for bearer, _ in arrivals.seen] == ["awi_one", "awi_one"]
    first, second = (correlation_id for _, correlation_id in arrivals.seen)
    assert first != second


@story
async def test_the_bearer_can_change_between_calls() -> None:
    arrivals, held = Arrivals(), [Secret("awi_old")]
    async with (
        serving(say=arrivals.behaviour()) as parts,
        aio_channel(target(parts), bearer=lambda: held[0]) as channel,
    ):
        say = channel.unary_unary(SAY, **SHAPES)
        await say(Text(), timeout=20)
        held[0] = Secret("awi_new")
        await say(Text(), timeout=20)
    assert [bearer for bearer, _ in arrivals.seen] == ["awi_old", "awi_new"]


@story
async def test_what_a_call_brings_itself_wins() -> None:
    arrivals = Arrivals()
    async with (
        serving(say=arrivals.behaviour()) as parts,
        aio_channel(target(parts), bearer=Secret("awi_channel")) as channel,
    ):
        metadata = call_metadata(bearer=Secret("awi_call"), correlation_id="mine")
        await channel.unary_unary(SAY, **SHAPES)(Text(), timeout=20, metadata=metadata)
    assert arrivals.seen == [("awi_call", "mine")]


@story
async def test_one_correlation_id_crosses_services() -> None:
    behind = Arrivals()
    async with serving(say=behind.behaviour()) as second, aio_channel(target(second)) as channel:

        async def pass_on(request: Text, _context: Any) -> Text:
            answer: Text = await channel.unary_unary(SAY, **SHAPES)(request, timeout=20)
            return answer

        async with serving(say=pass_on) as first:
            await first.say(correlation_id="from-the-edge")
    assert [correlation_id for _, correlation_id in behind.seen] == ["from-the-edge"]


@story
async def test_streams_carry_them_too() -> None:
    async with serving() as parts, aio_channel(target(parts)) as channel:
        stream = channel.unary_stream(COUNT, **SHAPES)(Text(value="2"), timeout=20)
        assert [each.value async for each in stream] == ["0", "1"]
        trailing = dict(await stream.trailing_metadata())
    assert "agentworkspace-correlation-id" in trailing


@story
async def test_a_blocking_channel_does_the_same() -> None:
    arrivals = Arrivals()

    def talk(address: str) -> list[str]:
        with blocking_channel(
            address, bearer=Secret("awi_one"), correlation_id=lambda: "id-1"
        ) as channel:
            said = channel.unary_unary(SAY, **SHAPES)(Text(value="hello"), timeout=20)
            counted = channel.unary_stream(COUNT, **SHAPES)(Text(value="2"), timeout=20)
            return [said.value, *(each.value for each in counted)]

    async with serving(say=arrivals.behaviour()) as parts:
        assert await asyncio.to_thread(talk, target(parts)) == ["hello", "0", "1"]
    assert arrivals.seen == [("awi_one", "id-1")]


class ForeignError(grpc.RpcError):
    """What a client may get from a proxy, or from a server that is not ours."""

    def __init__(self, trailing: Any) -> None:
        self._trailing = trailing

    def code(self) -> grpc.StatusCode:
        return StatusCode.PERMISSION_DENIED

    def details(self) -> str:
        return "go away"

    def trailing_metadata(self) -> Any:
        return self._trailing


@pytest.mark.parametrize(
    ("trailing", "reason", "recovery"),
    [
        (None, "", Recovery.RETRY),
        ((), "", Recovery.RETRY),
        ((("grpc-status-details-bin", b"\xff\xffgarbage"),), "", Recovery.RETRY),
        ((("agentworkspace-recovery", "SOMETHING_NEW"),), "", Recovery.RETRY),
        (
            (("agentworkspace-reason", "ERROR_REASON_X"), ("agentworkspace-recovery", "STOP")),
            "ERROR_REASON_X",
            Recovery.STOP,
        ),
    ],
)
def test_an_answer_that_is_not_quite_ours_means_retry(
    trailing: Any, reason: str, recovery: Recovery
) -> None:
    failure = failure_from(ForeignError(trailing))
    assert failure.code is StatusCode.PERMISSION_DENIED
    assert failure.message == "go away"
    assert failure.reason == reason
    assert failure.recovery is recovery


def test_an_agent_needs_the_base_install_only() -> None:
    program = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"structlog", "prometheus_client", "grpc_health",
                                  "grpc_reflection", "uvloop", "cryptography", "sqlalchemy"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
import agentworkspace.rpc.calls, agentworkspace.client.channel, agentworkspace.rpc.errors
import agentworkspace.rpc.redaction, agentworkspace.core.token_format
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=environment)
