"""A channel to `dns:` shares its calls among all replicas, and finds those that come later."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import grpc.aio
import pytest

from agentworkspace.client.channel import aio_channel, blocking_channel
from agentworkspace.rpc.errors import failure_from
from tests.rpc.echo_server import SAY, Text, story
from tests.rpc.replicas import Replicas, replicas

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on loopback"
)
CALLS = 200
# Two replicas within 20 % of even.
FAIR = range(80, 121)


def say_on(channel: Any) -> Any:
    return channel.unary_unary(
        SAY, request_serializer=Text.SerializeToString, response_deserializer=Text.FromString
    )


async def until_answered_by(channel: Any, running: Replicas, *addresses: str) -> None:
    """Call until each of them has answered, which is a matter of its being found."""
    while not all(running.served[address] for address in addresses):
        await say_on(channel)(Text(), timeout=20, wait_for_ready=True)
        await asyncio.sleep(0.01)


async def shares(channel: Any, running: Replicas) -> dict[str, int]:
    before = dict(running.served)
    for _ in range(CALLS):
        await say_on(channel)(Text(), timeout=20)
    return {address: count - before[address] for address, count in running.served.items()}


@story
async def test_two_replicas_behind_one_name_get_even_shares() -> None:
    async with (
        replicas("127.0.0.2", "127.0.0.3") as running,
        aio_channel(running.target) as channel,
    ):
        await until_answered_by(channel, running, "127.0.0.2", "127.0.0.3")
        found = await shares(channel, running)
    assert set(found) == {"127.0.0.2", "127.0.0.3"}
    assert all(count in FAIR for count in found.values()), found


@story
async def test_a_blocking_channel_shares_them_too() -> None:
    async with replicas("127.0.0.2", "127.0.0.3") as running:

        def talk() -> None:
            with blocking_channel(running.target) as channel:
                while not all(running.served.values()):
                    say_on(channel)(Text(), timeout=20, wait_for_ready=True)

        await asyncio.to_thread(talk)
    assert all(running.served.values())


@story
async def test_a_replica_that_took_anothers_place_gets_its_share() -> None:
    async with (
        replicas("127.0.0.2", "127.0.0.3") as running,
        aio_channel(running.target) as channel,
    ):
        await until_answered_by(channel, running, "127.0.0.2", "127.0.0.3")
        await running.start("127.0.0.4")
        running.names.addresses = ["127.0.0.2", "127.0.0.4"]
        await running.stop("127.0.0.3")
        await until_answered_by(channel, running, "127.0.0.4")
        found = await shares(channel, running)
    assert found["127.0.0.3"] == 0
    assert {found["127.0.0.2"], found["127.0.0.4"]} <= set(FAIR), found


@story
async def test_a_replica_that_came_besides_is_found_when_a_connection_is_old() -> None:
    async with replicas() as running:
        await running.start("127.0.0.2", age=1.0)
        running.names.addresses = ["127.0.0.2"]
        async with aio_channel(running.target) as channel:
            await until_answered_by(channel, running, "127.0.0.2")
            await running.start("127.0.0.3")
            running.names.addresses = ["127.0.0.2", "127.0.0.3"]
            await until_answered_by(channel, running, "127.0.0.3")


@story
async def test_a_replica_that_does_not_serve_gets_no_call() -> None:
    async with replicas("127.0.0.2") as running:
        await running.start("127.0.0.3", serving=False)
        running.names.addresses = ["127.0.0.2", "127.0.0.3"]
        async with aio_channel(running.target) as channel:
            await until_answered_by(channel, running, "127.0.0.2")
            assert (await shares(channel, running))["127.0.0.3"] == 0
            await running.servers["127.0.0.3"].set_health(serving=True)
            await until_answered_by(channel, running, "127.0.0.3")


@story
async def test_an_address_without_dns_is_one_server_whatever_it_says_of_itself() -> None:
    async with replicas("127.0.0.2") as running:
        await running.servers["127.0.0.2"].set_health(serving=False)
        async with aio_channel(f"127.0.0.2:{running.port}") as channel:
            answer = await say_on(channel)(Text(value="here"), timeout=20)
    assert answer.value == "here"


@story
async def test_when_no_replica_serves_a_call_fails_at_once_as_unavailable() -> None:
    async with replicas("127.0.0.2") as running:
        await running.servers["127.0.0.2"].set_health(serving=False)
        async with aio_channel(running.target, retries=False) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await say_on(channel)(Text(), timeout=20)
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert failure_from(failure.value).message == (
        "every server behind this name is up, and says NOT_SERVING, most often because its database"
        " takes no writes. Call again in a while; if it lasts, look into the service's log"
    )
