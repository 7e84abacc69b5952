"""Channels whose certificate files are read again when they change.

gRPC reads a client's files once, when the channel is made. Here the first call after a change makes
a new channel with the new files. Calls under way end on the channel that they began on, which is
closed after the last of them. New files that cannot be used are ignored.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Self, TypeAlias, TypeVar

import grpc
import grpc.aio
from typing_extensions import override

from agentworkspace.core.watched_files import Observe, WatchedFiles

C = TypeVar("C")
# From a channel to the multicallable that a stub would call.
Method: TypeAlias = Callable[[C], Any]


@dataclass(eq=False, slots=True)
class _Link(Generic[C]):
    channel: C
    calls: int = 0


class _Links(Generic[C]):
    """The channel that new calls use, and older ones that calls are still under way on."""

    def __init__(
        self,
        files: Iterable[Path],
        connect: Callable[[], C],
        close: Callable[[C], None],
        observe: Observe,
    ) -> None:
        self._lock = threading.Lock()
        self._watched = WatchedFiles(files, lambda: _Link(connect()), observe)
        self._close = close
        self._current = self._watched()
        self._older: list[_Link[C]] = []
        self._closed = False

    @property
    def current(self) -> C:
        return self._current.channel

    def lend(self) -> _Link[C]:
        """The newest channel, for one call, after which `give_back` must be called."""
        idle: list[_Link[C]] = []
        with self._lock:
            newest = self._current if self._closed else self._watched()
            if newest is not self._current:
                self._older.append(self._current)
                self._current = newest
            newest.calls += 1
            if self._older:
                idle = [link for link in self._older if not link.calls]
                self._older = [link for link in self._older if link.calls]
        # Not closed where the last call ends, which may be on the channel's own thread.
        for link in idle:
            self._close(link.channel)
        return newest

    @contextmanager
    def lent(self) -> Iterator[C]:
        """The newest channel, for a call that ends within the block."""
        link = self.lend()
        try:
            yield link.channel
        finally:
            self.give_back(link)

    def give_back(self, link: _Link[C]) -> None:
        with self._lock:
            link.calls -= 1

    def begun(self, method: Method[C], *args: Any, **kwargs: Any) -> Any:
        """Begin a call whose `add_done_callback` says when it has ended."""
        link = self.lend()
        try:
            call = method(link.channel)(*args, **kwargs)
        except BaseException:
            self.give_back(link)
            raise
        call.add_done_callback(lambda _: self.give_back(link))
        return call

    def end(self) -> list[C]:
        """Make no channel any more, and return those that are open, for the caller to close."""
        with self._lock:
            self._closed = True
            older, self._older = self._older, []
        return [self._current.channel, *(link.channel for link in older)]


class RenewedChannel(grpc.Channel):
    """The blocking one. `connect` reads the files and makes a channel; it raises OSError or
    ValueError when they cannot be used, and the constructor raises the same.
    """

    def __init__(
        self, files: Iterable[Path], connect: Callable[[], grpc.Channel], observe: Observe
    ) -> None:
        self._links = _Links(files, connect, lambda channel: channel.close(), observe)

    @override
    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:
        self._links.current.subscribe(callback, try_to_connect)

    @override
    def unsubscribe(self, callback: Any) -> None:
        self._links.current.unsubscribe(callback)

    @override
    def unary_unary(self, *how: Any, **more: Any) -> Any:
        return _Answered(self._links, lambda channel: channel.unary_unary(*how, **more))

    @override
    def unary_stream(self, *how: Any, **more: Any) -> Any:
        return partial(self._links.begun, lambda channel: channel.unary_stream(*how, **more))

    @override
    def stream_unary(self, *how: Any, **more: Any) -> Any:
        return _Answered(self._links, lambda channel: channel.stream_unary(*how, **more))

    @override
    def stream_stream(self, *how: Any, **more: Any) -> Any:
        return partial(self._links.begun, lambda channel: channel.stream_stream(*how, **more))

    @override
    def close(self) -> None:
        for channel in self._links.end():
            channel.close()

    @override
    def __enter__(self) -> Self:
        return self

    @override
    def __exit__(self, *_: object) -> None:
        self.close()


class _Answered:
    """The multicallable of a method with a single response, on the newest channel."""

    def __init__(self, links: _Links[grpc.Channel], method: Method[grpc.Channel]) -> None:
        self._links = links
        self._method = method

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._links.lent() as channel:
            return self._method(channel)(*args, **kwargs)

    def with_call(self, *args: Any, **kwargs: Any) -> Any:
        with self._links.lent() as channel:
            return self._method(channel).with_call(*args, **kwargs)

    def future(self, *args: Any, **kwargs: Any) -> Any:
        return self._links.begun(lambda channel: self._method(channel).future, *args, **kwargs)


class RenewedAioChannel(grpc.aio.Channel):
    """The asyncio one; `connect` is as in `RenewedChannel`."""

    def __init__(
        self, files: Iterable[Path], connect: Callable[[], grpc.aio.Channel], observe: Observe
    ) -> None:
        self._links = _Links(files, connect, self._close_aside, observe)
        self._closing: set[asyncio.Task[None]] = set()

    @override
    def unary_unary(self, *how: Any, **more: Any) -> Any:
        return partial(self._links.begun, lambda channel: channel.unary_unary(*how, **more))

    @override
    def unary_stream(self, *how: Any, **more: Any) -> Any:
        return partial(self._links.begun, lambda channel: channel.unary_stream(*how, **more))

    @override
    def stream_unary(self, *how: Any, **more: Any) -> Any:
        return partial(self._links.begun, lambda channel: channel.stream_unary(*how, **more))

    @override
    def stream_stream(self, *how: Any, **more: Any) -> Any:
        return partial(self._links.begun, lambda channel: channel.stream_stream(*how, **more))

    @override
    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._links.current.get_state(try_to_connect)

    @override
    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._links.current.wait_for_state_change(last_observed_state)

    @override
    async def channel_ready(self) -> None:
        await self._links.current.channel_ready()

    @override
    async def close(self, grace: float | None = None) -> None:
        await asyncio.gather(
            *(channel.close(grace) for channel in self._links.end()), *self._closing
        )

    @override
    async def __aenter__(self) -> Self:
        return self

    @override
    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _close_aside(self, channel: grpc.aio.Channel) -> None:
        task = asyncio.get_running_loop().create_task(channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
