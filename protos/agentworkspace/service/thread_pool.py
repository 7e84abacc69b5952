"""Runs blocking work for the event loop: a small thread pool with a bounded queue."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.service.store_faults import COME_BACK_AFTER

P = ParamSpec("P")
T = TypeVar("T")


def overloaded() -> Refusal:
    return Refusal(
        SharedReason.OVERLOADED,
        "more calls are waiting than this replica takes; nothing was done, call again later",
        retry_after=COME_BACK_AFTER,
    )


class BlockingPool:
    """Runs blocking functions on `threads` threads, each in the context of its call.

    Work whose call is cancelled while it waits is never started; once started, it runs to its end,
    and what it changes stays changed.
    """

    def __init__(self, *, threads: int, max_waiting: int, name: str = "command") -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self.threads = threads
        self._limit = threads + max_waiting
        self._held = 0
        self._emptied: asyncio.Event | None = None

    @property
    def held(self) -> int:
        """How many calls run or wait."""
        return self._held

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` on a thread and return its result. OVERLOADED when the queue is full."""
        if self._held >= self._limit:
            raise overloaded()
        return await self._started(partial(work, *args, **kwargs))

    async def finish(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for the rest of what has begun: never turned away, and started also when its
        call is given up while it waits.
        """
        return await asyncio.shield(self._started(partial(work, *args, **kwargs)))

    def _started(self, work: Callable[[], T]) -> asyncio.Future[T]:
        context = contextvars.copy_context()
        future = self._executor.submit(context.run, work)
        self._held += 1
        future.add_done_callback(self._released_from(asyncio.get_running_loop()))
        return asyncio.wrap_future(future)

    async def end(self, seconds: float) -> bool:
        """Drop what waits, and wait this long for what runs. False when something still runs."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        if self._held:
            self._emptied = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._emptied.wait()
        return not self._held

    def _released_from(self, loop: asyncio.AbstractEventLoop) -> Callable[[object], None]:
        def released(_future: object) -> None:
            # This runs on the worker's thread, but only the event loop may change the count.
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._release)

        return released

    def _release(self) -> None:
        self._held -= 1
        if not self._held and self._emptied is not None:
            self._emptied.set()
