"""The server around the edge: health, reflection, listeners, and an orderly end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from agentworkspace.rpc.errors import failure_from
from agentworkspace.server.listening import ListenRefused, is_loopback
from agentworkspace.server.server import RpcServer, ServerSettings, run, stop_event
from tests.rpc.echo_server import (
    SERVICE,
    Parts,
    Text,
    failure_of,
    make_edge,
    mount,
    serving,
    story,
    stream_failure_of,
)

StatusCode = grpc.StatusCode
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health_of(parts: Parts, name: str) -> Any:
    stub: Any = health_pb2_grpc.HealthStub(parts.channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=20)).status


@story
async def test_health_starts_not_serving_and_follows_what_it_is_told() -> None:
    async with serving() as parts:
        assert await health_of(parts, "") == NOT_SERVING
        assert await health_of(parts, SERVICE) == NOT_SERVING
        await parts.server.set_health(serving=True)
        assert await health_of(parts, "") == SERVING
        assert await health_of(parts, SERVICE) == SERVING
        await parts.server.set_health(serving=False, name=SERVICE)
        assert await health_of(parts, "") == SERVING
        assert await health_of(parts, SERVICE) == NOT_SERVING


@story
async def test_health_needs_no_credential_and_its_answers_are_its_own() -> None:
    async with serving() as parts:
        stub: Any = health_pb2_grpc.HealthStub(parts.channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="other"), timeout=20)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=""), timeout=20)
        answers = aiter(watch)
        first = await anext(answers)
        await parts.server.set_health(serving=True)
        second = await anext(answers)
        watch.cancel()
    assert caught.value.code() is StatusCode.NOT_FOUND
    assert failure_from(caught.value).reason == ""
    assert [first.status, second.status] == [NOT_SERVING, SERVING]
    assert parts.log.events == []


@story
async def test_health_lists_every_service() -> None:
    async with serving() as parts:
        stub: Any = health_pb2_grpc.HealthStub(parts.channel)
        listing: Any = health_pb2
        before = await stub.List(listing.HealthListRequest(), timeout=20)
        await parts.server.set_health(serving=True)
        after = await stub.List(listing.HealthListRequest(), timeout=20)
    assert {name: each.status for name, each in before.statuses.items()} == {
        "": NOT_SERVING,
        SERVICE: NOT_SERVING,
    }
    assert {name: each.status for name, each in after.statuses.items()} == {
        "": SERVING,
        SERVICE: SERVING,
    }


@story
async def test_nobody_watches_or_looks_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentworkspace.server.health.MOST_WATCHERS", 2)
    monkeypatch.setattr("agentworkspace.server.reflection.MOST_LOOKING", 2)
    async with serving() as parts:
        stub: Any = health_pb2_grpc.HealthStub(parts.channel)
        watch = stub.Watch
        held = [watch(health_pb2.HealthCheckRequest(), timeout=20) for _ in range(2)]
        for each in held:
            await anext(aiter(each))
        with pytest.raises(grpc.aio.AioRpcError) as watched:
            await anext(aiter(watch(health_pb2.HealthCheckRequest(), timeout=20)))
        assert await health_of(parts, "") == NOT_SERVING
        look: Any = reflection_pb2_grpc.ServerReflectionStub(cast("Any", parts.channel))
        streams = [look.ServerReflectionInfo(timeout=20) for _ in range(2)]
        for stream in streams:
            await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            await stream.read()
        with pytest.raises(grpc.aio.AioRpcError) as looked:
            await reflected(parts, reflection_pb2.ServerReflectionRequest(list_services=""))
        for each in (*held, *streams):
            each.cancel()
    for refused in (watched, looked):
        assert refused.value.code() is StatusCode.RESOURCE_EXHAUSTED


async def reflected(parts: Parts, request: Any) -> Any:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("Any", parts.channel))

    async def requests() -> AsyncIterator[Any]:
        yield request

    return await anext(aiter(stub.ServerReflectionInfo(requests(), timeout=20)))


@story
async def test_reflection_lists_and_describes_the_services() -> None:
    async with serving() as parts:
        listed = await reflected(parts, reflection_pb2.ServerReflectionRequest(list_services=""))
        described = await reflected(
            parts, reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)
        )
    assert {each.name for each in listed.list_services_response.service} == {
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    file = descriptor_pb2.FileDescriptorProto.FromString(
        described.file_descriptor_response.file_descriptor_proto[0]
    )
    assert [method.name for method in file.service[0].method] == ["Say", "Count", "Launch"]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
@pytest.mark.parametrize("symbol", [SERVICE, f"{SERVICE}.Say"])
@story
async def test_both_versions_of_reflection_describe_services_and_methods(
    version: str, symbol: str
) -> None:
    async with serving() as parts:
        call: Any = parts.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        requests = [
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=each)
            for each in (symbol, f"{SERVICE}.Missing", "no.Such")
        ]
        described, *unknown = [each async for each in call(iter(requests), timeout=20)]
    file = descriptor_pb2.FileDescriptorProto.FromString(
        described.file_descriptor_response.file_descriptor_proto[0]
    )
    assert [method.name for method in file.service[0].method] == ["Say", "Count", "Launch"]
    assert [each.error_response.error_code for each in unknown] == [5, 5]


@story
async def test_reflection_can_be_turned_off() -> None:
    async with serving(server={"reflection": False}) as parts:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await reflected(parts, reflection_pb2.ServerReflectionRequest(list_services=""))
    assert caught.value.code() is StatusCode.UNIMPLEMENTED


@story
async def test_a_stop_lets_running_calls_finish_and_takes_no_new_ones() -> None:
    entered, finish = asyncio.Event(), asyncio.Event()

    async def wait(request: Text, _context: Any) -> Text:
        entered.set()
        await finish.wait()
        return request

    async with serving(say=wait) as parts:
        running = asyncio.ensure_future(parts.say("finished"))
        await entered.wait()
        stopping = asyncio.ensure_future(parts.server.stop())
        refused = await failure_of(parts.say(timeout=5))
        assert not stopping.done()
        finish.set()
        assert (await running).value == "finished"
        await stopping
    assert refused.code is StatusCode.UNAVAILABLE
    assert refused.reason == "ERROR_REASON_SHUTTING_DOWN"


@story
async def test_a_stop_ends_streams_with_a_reason_to_come_again() -> None:
    async def watch(_request: Text, _context: Any) -> AsyncIterator[Text]:
        yield Text(value="one")
        await asyncio.Event().wait()

    async with serving(counting=watch) as parts:
        stream = parts.count(correlation_id="watch-1")
        await anext(aiter(stream))
        stopping = asyncio.ensure_future(parts.server.stop())
        failure = await stream_failure_of(stream)
        await stopping
    assert failure.code is StatusCode.UNAVAILABLE
    assert failure.reason == "ERROR_REASON_SHUTTING_DOWN"
    assert failure.recovery == "RETRY"
    assert failure.retry_after is not None
    assert failure.correlation_id == "watch-1"


@story
async def test_a_stop_ends_a_stream_that_never_pauses() -> None:
    async def flood(_request: Text, _context: Any) -> AsyncIterator[Text]:
        while True:
            yield Text(value="more")

    async with serving(counting=flood) as parts:
        stream = parts.count()
        await anext(aiter(stream))
        stopping = asyncio.ensure_future(parts.server.stop())
        failure = await stream_failure_of(stream)
        await stopping
    assert failure.reason == "ERROR_REASON_SHUTTING_DOWN"


@story
async def test_a_stop_tells_health_watchers_first_and_does_not_wait_for_them() -> None:
    async with serving(server={"drain_seconds": 60.0}) as parts:
        await parts.server.set_health(serving=True)
        stub: Any = health_pb2_grpc.HealthStub(parts.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=""))
        answers = aiter(watch)
        assert (await anext(answers)).status == SERVING
        stopping = asyncio.ensure_future(parts.server.stop())
        assert (await anext(answers)).status == NOT_SERVING
        await asyncio.wait_for(stopping, 10)


@story
async def test_a_call_that_never_ends_is_cut_after_the_drain() -> None:
    entered, cut = asyncio.Event(), asyncio.Event()

    async def wait(_request: Text, _context: Any) -> Text:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()
        raise AssertionError

    async with serving(say=wait, server={"drain_seconds": 0.1}) as parts:
        running = asyncio.ensure_future(failure_of(parts.say()))
        await entered.wait()
        await parts.server.stop()
        assert cut.is_set()
        assert (await running).code in {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_event_that_a_service_waits_for(number: int) -> None:
    async def main() -> None:
        with stop_event() as stop:
            os.kill(os.getpid(), number)
            async with asyncio.timeout(20):
                await stop.wait()

    run(main())


@pytest.mark.parametrize(
    ("listen", "loopback"),
    [
        ("127.0.0.1:7101", True),
        ("127.8.0.1:0", True),
        ("[::1]:7101", True),
        ("localhost:7101", True),
        ("unix:/run/registry.sock", True),
        ("0.0.0.0:7101", False),
        ("[::]:7101", False),
        ("10.0.0.1:7101", False),
        ("registry:7101", False),
    ],
)
def test_loopback_is_recognised(listen: str, loopback: bool) -> None:
    assert is_loopback(listen) is loopback


@pytest.mark.parametrize("listen", ["", "7101", "host:", "host:http"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(ListenRefused):
        is_loopback(listen)


@story
async def test_plaintext_off_loopback_is_refused_unless_told() -> None:
    server = RpcServer(ServerSettings(listen="0.0.0.0:0"), make_edge(), [mount()])
    with pytest.raises(ListenRefused, match="INSECURE=1"):
        await server.start()
    async with serving(server={"listen": "0.0.0.0:0", "insecure": True}) as parts:
        assert (await parts.say("heard")).value == "heard"


@story
async def test_a_second_server_on_the_same_port_is_refused() -> None:
    async with serving() as parts:
        second = RpcServer(ServerSettings(listen=f"127.0.0.1:{parts.port}"), make_edge(), [mount()])
        with pytest.raises(ListenRefused, match="another program listens there"):
            await second.start()
