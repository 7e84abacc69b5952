"""What strangers send is neither unpacked nor kept."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import types
from typing import Any

import grpc
import grpc.aio
import pytest

from agentworkspace.rpc.errors import failure_from
from tests.rpc.echo_server import LAUNCHER_SECRET, Parts, Text, failure_of, serving, story

StatusCode = grpc.StatusCode
KIB = 1024


async def compressed(parts: Parts, size: int) -> Any:
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{parts.port}", compression=grpc.Compression.Gzip
    ) as channel:
        say: Any = channel.unary_unary("/edgetest.v1.Echo/Say")
        return await say(Text(value="x" * size).SerializeToString(), timeout=20)


@story
async def test_no_compressed_request_is_taken() -> None:
    async with serving() as parts:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await compressed(parts, 10 * KIB)
    assert refused.value.code() is StatusCode.UNIMPLEMENTED
    assert failure_from(refused.value).reason == ""
    assert parts.log.events == []


@story
async def test_compressed_requests_are_taken_by_setting_and_unpacked_within_the_limit() -> None:
    options = {"accept_compression": True}
    async with serving(server=options, max_request_bytes=64 * KIB) as parts:
        assert len(await compressed(parts, 10 * KIB)) > 10 * KIB
        with pytest.raises(grpc.aio.AioRpcError) as bomb:
            await compressed(parts, 4096 * KIB)
    assert bomb.value.code() is StatusCode.RESOURCE_EXHAUSTED


@story
async def test_one_limit_is_the_edges_and_grpcs() -> None:
    async with serving(max_request_bytes=64 * KIB) as parts:
        assert (await parts.say("x" * 63 * KIB)).value
        named = await failure_of(parts.say("x" * 100 * KIB))
        unread = await failure_of(parts.say("x" * 1024 * KIB))
    assert named.code is StatusCode.INVALID_ARGUMENT
    assert named.reason == "ERROR_REASON_REQUEST_TOO_LARGE"
    assert named.metadata == {"limit_bytes": str(64 * KIB)}
    assert (unread.code, unread.reason) == (StatusCode.RESOURCE_EXHAUSTED, "")


async def boom(_request: Text, _context: Any) -> Text:
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    "sent",
    [
        {"raw": b"\xff" * 60 * KIB},
        {"raw": b"x" * 100 * KIB},
        {"raw": Text(value="x" * 60 * KIB).SerializeToString(), "bearer": "nobody"},
        {"raw": Text(value="x" * 60 * KIB).SerializeToString(), "bearer": LAUNCHER_SECRET},
    ],
    ids=["malformed", "too large", "unknown", "a fault"],
)
@story
async def test_a_refused_call_leaves_nothing_for_a_late_collection(sent: dict[str, Any]) -> None:
    async with serving(launch=boom, max_request_bytes=64 * KIB) as parts:
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                await failure_of(parts.raw("/edgetest.v1.Echo/Launch", **sent))
            await until_let_go()
        finally:
            gc.enable()


async def until_let_go() -> None:
    """Without a collection: references alone."""
    async with asyncio.timeout(10):
        while True:
            kept = [each for each in gc.get_objects() if isinstance(each, grpc.aio.AbortError)]
            frames = [
                each
                for each in gc.get_objects()
                if isinstance(each, types.FrameType) and each.f_code.co_name == "unary_unary"
            ]
            # gRPC itself holds the last call or two until the next one comes.
            if len(kept) <= 2 and not frames:
                return
            del kept, frames
            await asyncio.sleep(0.01)


@story
async def test_refusals_are_logged_in_samples_that_say_how_many_they_stand_for() -> None:
    async with serving() as parts:
        for _ in range(40):
            await failure_of(parts.launch(bearer="nobody"))
        lines = [each for each in parts.log.events if each["event"] == "call"]
        while "unlogged" not in lines[-1]:
            await asyncio.sleep(0.05)
            await failure_of(parts.launch(bearer="nobody"))
            lines = [each for each in parts.log.events if each["event"] == "call"]
    assert len(lines) <= 30
    counted = parts.metrics.get_sample_value(
        "agentworkspace_rpc_calls_total",
        {
            "method": "/edgetest.v1.Echo/Launch",
            "caller": "nobody",
            "code": "UNAUTHENTICATED",
            "reason": "ERROR_REASON_CREDENTIAL_REJECTED",
        },
    )
    assert counted is not None
    told = len(lines) + sum(each.get("unlogged", 0) for each in lines)
    assert told == counted


@story
async def test_every_fault_is_logged() -> None:
    async with serving(launch=boom) as parts:
        for _ in range(40):
            await failure_of(parts.launch(bearer=LAUNCHER_SECRET))
    assert len([each for each in parts.log.events if each["level"] == "error"]) == 40


@story
async def test_a_connection_that_grew_old_is_made_anew_and_no_call_is_lost() -> None:
    peers: set[str] = set()

    async def note(request: Text, context: Any) -> Text:
        peers.add(context.peer())
        return request

    options = {"max_connection_age_seconds": 0.3, "connection_grace_seconds": 5.0}
    async with serving(say=note, server=options) as parts:
        while len(peers) < 3:
            assert (await parts.say()).value == "hello"
            await asyncio.sleep(0.01)


@story
async def test_a_client_that_pings_too_often_is_cut_off() -> None:
    async def forever(_request: Text, _context: Any) -> Any:
        await asyncio.Event().wait()
        yield Text()

    pinging = [
        ("grpc.keepalive_time_ms", 20),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.enable_retries", 0),
    ]
    async with serving(counting=forever) as parts:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{parts.port}", options=pinging) as channel:
            count: Any = channel.unary_stream("/edgetest.v1.Echo/Count")
            with pytest.raises(grpc.aio.AioRpcError) as cut:
                await anext(aiter(count(b"", timeout=20)))
        with contextlib.suppress(grpc.aio.AioRpcError):
            assert (await parts.say()).value == "hello"
    assert cut.value.code() is StatusCode.UNAVAILABLE
    assert "ping" in (cut.value.details() or "")


_WHEN_GRPC_COMES = """
import importlib, os, sys

class Watcher:
    def find_spec(self, name, path=None, target=None):
        if name == "grpc._cython":
            print(os.environ.get("GRPC_VERBOSITY"))

sys.meta_path.insert(0, Watcher())
importlib.import_module(sys.argv[1] + ".__main__")
"""


@pytest.mark.parametrize("service", ["registry_service", "provision_service"])
def test_grpcs_own_lines_are_silenced_before_it_is_there(service: str) -> None:
    """It reads the variable once, when it is imported."""
    environment = {name: text for name, text in os.environ.items() if name != "GRPC_VERBOSITY"}
    said = subprocess.run(
        [sys.executable, "-c", _WHEN_GRPC_COMES, service],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.splitlines()[:1] == ["NONE"]
