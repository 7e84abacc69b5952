"""The feed of revocations in this process: read once, handed to every watcher.

The store is asked every second, and at once when a notification comes in. After each successful
read watchers get a keep-alive, which means: "you were told of everything that was revoked up to
this revision". While the store does not answer there are no keep-alives, and soon the watchers'
calls are ended.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import structlog

from agentworkspace.core.ids import TenantId
from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.service.connection_faults import why
from registry_service.commands.read_revocations import ReadRevocations, Revocation, Revocations

BEAT_SECONDS: Final = 1.0
# A verifier bypasses its cache after three missing keep-alives; its call is ended then, too.
SILENT_SECONDS: Final = 3.0
PAGE: Final = 1000
KEPT_IN_MEMORY: Final = 10_000

Read = Callable[[ReadRevocations], Awaitable[Revocations]]


@dataclass(frozen=True, slots=True)
class Beat:
    """A keep-alive. With `reset`, the watcher missed revocations that are no longer known, and
    must forget what it has cached.
    """

    revision: int
    reset: bool = False


class RevocationFeed:
    """`run` reads the store, and any number of `watch` follow it, all on one event loop."""

    def __init__(
        self,
        read: Read,
        *,
        observe: Callable[[Revocation], None] = lambda revocation: None,
        on_fault: Callable[[], None] = lambda: None,
        kept: int = KEPT_IN_MEMORY,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        self._read = read
        self._observe = observe
        self._on_fault = on_fault
        self._kept = kept
        self._beat_seconds = beat_seconds
        self._log = structlog.get_logger("registry.feed")
        # All revocations after `_floor` up to `_revision`, in order.
        self._events: list[Revocation] = []
        self._floor = 0
        self._revision: int | None = None
        # How often the store's feed turned out not to continue what was read before.
        self._epoch = 0
        self._beats = 0
        self._silent = False
        self._wanted = asyncio.Event()
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Look now: a notification came, or one may have been missed."""
        self._wanted.set()

    async def run(self) -> None:
        """Read for ever; a store that does not answer is asked again."""
        loop = asyncio.get_running_loop()
        next_beat = loop.time()
        while True:
            due = loop.time() >= next_beat
            if due:
                next_beat = loop.time() + self._beat_seconds
            self._wanted.clear()
            await self._look(beat=due)
            await self._sleep_until(next_beat)

    async def watch(
        self, after_revision: int, *, concerns: Callable[[TenantId], bool] = lambda tenant_id: True
    ) -> AsyncIterator[Revocation | Beat]:
        """Revocations after that revision (0: from now on), in commit order, and keep-alives.

        Only revocations of tenants that `concerns` accepts are passed on. Keep-alives carry the
        revision of the whole feed, so that somebody who is told of no revocation still knows up to
        where there were none. Refusal STORE_UNAVAILABLE when the store has not answered for
        SILENT_SECONDS.
        """
        async with aclosing(self._all(after_revision)) as news:
            async for each in news:
                if isinstance(each, Beat) or concerns(each.tenant_id):
                    yield each

    async def _all(self, after_revision: int) -> AsyncGenerator[Revocation | Beat]:
        await self._current()
        seen = (self._epoch, self._beats)
        cursor = after_revision or self._now()
        if after_revision == 0:
            yield Beat(cursor)
        elif cursor > self._now():  # this process lags behind, or the number is not of this feed
            for each in await self._from_store(cursor):
                cursor = each.revision
                yield each
        while True:
            news, before, seen = self._news, seen, (self._epoch, self._beats)
            step = await self._step(cursor, before)
            for each in step:
                cursor = each.revision
                yield each
            if not step:
                await self._wait_for(news)

    async def _step(self, cursor: int, seen: tuple[int, int]) -> list[Revocation | Beat]:
        """What to tell next to a watcher that was told everything up to revision `cursor`, and
        whose last look was at `seen`, an epoch and a count of beats.
        """
        epoch, beats = seen
        if epoch != self._epoch:
            return [Beat(self._now(), reset=True)]
        if cursor < self._floor:
            return await self._from_store(cursor)
        step: list[Revocation | Beat] = [*self._after(cursor)]
        if beats != self._beats:
            step.append(Beat(max(cursor, self._now())))
        return step

    async def _from_store(self, cursor: int) -> list[Revocation | Beat]:
        """A page of what this process no longer, or not yet, has in memory: revocations after
        `cursor`, or a reset.
        """
        found = await self._read(ReadRevocations(after_revision=cursor, limit=PAGE))
        if found.reset:
            return [Beat(found.revision, reset=True)]
        if len(found.events) == PAGE:
            return [*found.events]
        return [*found.events, Beat(found.revision)]

    async def _look(self, *, beat: bool) -> None:
        try:
            await self._read_on()
        except Exception as fault:  # noqa: BLE001 - watchers are told; the next look may succeed
            self._on_fault()
            if not self._silent:
                self._log.warning("the revocation feed cannot be read", why=why(fault, "registry"))
            self._silent = True
            return
        if self._silent:
            self._log.info("the revocation feed is read again")
        self._silent = False
        if beat:
            self._beats += 1
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _read_on(self) -> None:
        if self._revision is None:
            newest = await self._read(ReadRevocations(after_revision=0, limit=1))
            self._floor = self._revision = newest.revision
            return
        more = True
        while more:
            found = await self._read(ReadRevocations(after_revision=self._revision, limit=PAGE))
            if found.reset:
                self._events.clear()
                self._floor = self._revision = found.revision
                self._epoch += 1
                return
            for event in found.events:
                self._observe(event)
            self._events.extend(found.events)
            more = len(found.events) == PAGE
            self._revision = found.events[-1].revision if more else found.revision
        self._trim()

    def _trim(self) -> None:
        # Many at a time, so that the list is not moved for every single event.
        if len(self._events) > 2 * self._kept:
            self._floor = self._events[-self._kept - 1].revision
            del self._events[: -self._kept]

    def _after(self, cursor: int) -> list[Revocation]:
        start = bisect_right(self._events, cursor, key=lambda event: event.revision)
        return self._events[start:]

    def _now(self) -> int:
        return self._revision or 0

    async def _current(self) -> None:
        """Wait until the feed was read just now: one that cannot be read may lie far behind."""
        if self._revision is None or self._silent:
            await self._wait_for(self._news)

    async def _wait_for(self, news: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                await news.wait()
        except TimeoutError:
            raise Refusal(
                SharedReason.STORE_UNAVAILABLE, "the revocation feed cannot be read; watch again"
            ) from None

    async def _sleep_until(self, moment: float) -> None:
        left = moment - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(0.0, left)):
                await self._wanted.wait()
        except TimeoutError:
            return
