"""Certificates of a client that are renewed while it calls."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from agentworkspace.client.channel import ClientTls, aio_channel, blocking_channel
from agentworkspace.client.renewed_channel import RenewedChannel
from agentworkspace.core.watched_files import unobserved
from tests.rpc.echo_server import COUNT, SAY, Text, serving, story
from tests.rpc.test_rpc_tls import Authority, refused, server_tls

SHAPES: Any = {
    "request_serializer": Text.SerializeToString,
    "response_deserializer": Text.FromString,
}


class Client:
    """Its files, and what is put in their place; the server says whose certificate it saw."""

    def __init__(self, directory: Path) -> None:
        self.first, self.second = Authority(directory, "first"), Authority(directory, "second")
        self.accepted = directory / "accepted.pem"
        self.accepted.write_bytes(self.first.file.read_bytes())
        certificate, key = self.first.issue("of-yesterday")
        self.newer = self.second.issue("of-today")
        self.tls = ClientTls(ca_file=self.first.file, certificate_file=certificate, key_file=key)
        self.seen: list[bool] = []
        self.held = asyncio.Event()
        self.reached = asyncio.Event()

    def renew_key(self) -> None:
        assert self.tls.key_file is not None
        self.newer[1].rename(self.tls.key_file)

    def renew_certificate(self) -> None:
        assert self.tls.certificate_file is not None
        self.newer[0].rename(self.tls.certificate_file)

    def renew(self) -> None:
        """New key and certificate; the server takes no client of the first authority any more."""
        self.renew_key()
        self.renew_certificate()
        self.accepted.write_bytes(self.second.file.read_bytes())

    def observe(self, *, refused: bool) -> None:
        self.seen.append(refused)

    async def answer(self, request: Text, context: Any) -> Text:
        if request.value == "hold":
            self.reached.set()
            await self.held.wait()
        (name,) = context.auth_context()["x509_common_name"]
        return Text(value=name.decode())

    def serving(self) -> Any:
        return serving(
            say=self.answer, server={"tls": server_tls(self.first, client_ca=self.accepted)}
        )


@story
async def test_the_next_call_shows_the_new_certificate_and_the_one_under_way_ends_well(
    tmp_path: Path,
) -> None:
    client = Client(tmp_path)
    older = ClientTls(
        ca_file=client.first.file,
        certificate_file=tmp_path / "kept.pem",
        key_file=tmp_path / "kept.key",
    )
    for kept, file in zip(older.files[1:], client.tls.files[1:], strict=True):
        kept.write_bytes(file.read_bytes())
    async with (
        client.serving() as parts,
        aio_channel(f"127.0.0.1:{parts.port}", tls=client.tls, observe=client.observe) as channel,
    ):
        say = channel.unary_unary(SAY, **SHAPES)
        under_way = say(Text(value="hold"), timeout=20)
        await client.reached.wait()
        client.renew()
        await refused(parts.port, older)
        assert (await say(Text(value="now"), timeout=20)).value == "of-today"
        client.held.set()
        assert (await under_way).value == "of-yesterday"
        assert (await say(Text(value="now"), timeout=20)).value == "of-today"
    assert client.seen == [False]


@story
async def test_a_blocking_channel_does_the_same(tmp_path: Path) -> None:
    client = Client(tmp_path)

    def calls(port: int, loop: asyncio.AbstractEventLoop) -> None:
        with blocking_channel(f"127.0.0.1:{port}", tls=client.tls) as channel:
            say = channel.unary_unary(SAY, **SHAPES)
            under_way = say.future(Text(value="hold"), timeout=20)
            asyncio.run_coroutine_threadsafe(client.reached.wait(), loop).result(20)
            client.renew()
            assert say(Text(value="now"), timeout=20).value == "of-today"
            loop.call_soon_threadsafe(client.held.set)
            assert under_way.result().value == "of-yesterday"
            answer, _ = say.with_call(Text(value="now"), timeout=20)
            assert answer.value == "of-today"
            counted = channel.unary_stream(COUNT, **SHAPES)(Text(value="2"), timeout=20)
            assert [each.value for each in counted] == ["0", "1"]

    async with client.serving() as parts:
        await asyncio.to_thread(calls, parts.port, asyncio.get_running_loop())


@story
async def test_a_certificate_without_its_key_leaves_the_last_pair_in_force(tmp_path: Path) -> None:
    client = Client(tmp_path)
    client.accepted.write_bytes(client.first.file.read_bytes() + client.second.file.read_bytes())
    async with (
        client.serving() as parts,
        aio_channel(f"127.0.0.1:{parts.port}", tls=client.tls, observe=client.observe) as channel,
    ):
        say = channel.unary_unary(SAY, **SHAPES)
        client.renew_certificate()
        assert (await say(Text(value="now"), timeout=20)).value == "of-yesterday"
        assert client.seen == [True]
        client.renew_key()
        assert (await say(Text(value="now"), timeout=20)).value == "of-today"
        assert client.seen == [True, False]


class Recorded(grpc.Channel):
    """One that answers nobody, and says whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False
        self.entered, self.leave = threading.Event(), threading.Event()

    def unary_unary(self, *_: Any, **__: Any) -> Any:
        def call(_request: object) -> None:
            self.entered.set()
            assert self.leave.wait(20)

        return call

    def close(self) -> None:
        self.is_closed = True

    def unexpected(self, *_: Any, **__: Any) -> Any:
        pytest.fail("nobody asks for this")

    subscribe = unsubscribe = unary_stream = stream_unary = stream_stream = unexpected


def test_a_replaced_channel_is_closed_once_its_last_call_has_ended(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("first")
    made: list[Recorded] = []

    def connect() -> Recorded:
        made.append(Recorded())
        return made[-1]

    channel = RenewedChannel((file,), connect, unobserved)
    call: Any = channel.unary_unary("/any/Method")
    under_way = threading.Thread(target=call, args=("request",))
    under_way.start()
    assert made[0].entered.wait(20)
    file.write_text("the second")
    made_later = threading.Thread(target=call, args=("request",))
    made_later.start()
    while len(made) < 2:
        made_later.join(0.01)
    made[1].leave.set()
    made_later.join(20)
    assert not made[0].is_closed

    made[0].leave.set()
    under_way.join(20)
    call("request")
    assert [each.is_closed for each in made] == [True, False]

    channel.close()
    file.write_text("another one")
    call("request")
    assert [each.is_closed for each in made] == [True, True]
