"""Watchers hear of every revocation in order, and of silence when the store is silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from agentworkspace.core.ids import TenantId
from agentworkspace.core.refusal import Refusal, SharedReason
from registry_service.commands.read_revocations import ReadRevocations, Revocation, Revocations
from registry_service.domain.tokens import RevokeReason
from registry_service.workers import feed as feed_module
from registry_service.workers.feed import Beat, RevocationFeed

BEAT_SECONDS = 0.02
News = Revocation | Beat


class Store:
    """A feed in a list; `kept_after` is where its old end was cut off."""

    def __init__(self) -> None:
        self.events: list[Revocation] = []
        self.revision = 0
        self.kept_after = 0
        self.away = False

    def revoke(self, count: int = 1) -> None:
        for _ in range(count):
            self.revision += 1
            self.events.append(
                Revocation(
                    revision=self.revision,
                    tenant_id=TenantId("acme"),
                    token_sha256=self.revision.to_bytes(32, "big"),
                    workspace_id=None,
                    reason=RevokeReason.OPERATOR,
                )
            )

    async def read(self, command: ReadRevocations) -> Revocations:
        if self.away:
            raise ConnectionError
        after = command.after_revision
        if after > self.revision or after < self.kept_after:
            return Revocations(events=(), revision=self.revision, reset=True)
        later = [event for event in self.events if event.revision > after]
        return Revocations(
            events=tuple(later[: command.limit]), revision=self.revision, reset=False
        )


@asynccontextmanager
async def reading(store: Store, *, kept: int = 100) -> AsyncIterator[RevocationFeed]:
    feed = RevocationFeed(store.read, kept=kept, beat_seconds=BEAT_SECONDS)
    running = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(
    feed: RevocationFeed, after: int, enough: Callable[[list[News]], bool]
) -> list[News]:
    """What a watcher hears until that is enough."""
    heard: list[News] = []
    async with asyncio.timeout(10), aclosing(feed.watch(after)) as news:  # type: ignore[type-var]
        async for each in news:
            heard.append(each)
            if enough(heard):
                break
    return heard


def revisions(heard: list[News]) -> list[int]:
    return [each.revision for each in heard if isinstance(each, Revocation)]


async def exhaust(news: AsyncIterator[News]) -> None:
    async with asyncio.timeout(10):
        async for _ in news:
            pass


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def test_a_watcher_from_now_hears_a_beat_at_once_and_nothing_old() -> None:
    async def story() -> None:
        store = Store()
        store.revoke(3)
        async with reading(store) as feed:
            heard = await until(feed, 0, lambda heard: len(heard) == 3)
            assert heard[0] == Beat(3)
            assert revisions(heard) == []

    run(story())


def test_a_watcher_hears_what_is_revoked_meanwhile_in_order() -> None:
    async def story() -> None:
        store = Store()
        async with reading(store) as feed, aclosing(feed.watch(0)) as news:  # type: ignore[type-var]
            assert await anext(news) == Beat(0)
            for _ in range(50):
                store.revoke()
                feed.wake()
                await asyncio.sleep(0)
            heard: list[News] = []
            while len(revisions(heard)) < 50:
                heard.append(await anext(news))
            assert revisions(heard) == list(range(1, 51))

    run(story())


def test_a_wake_brings_news_without_waiting_for_the_beat() -> None:
    async def story() -> None:
        store = Store()
        feed = RevocationFeed(store.read, beat_seconds=1000)
        running = asyncio.create_task(feed.run())
        watching = asyncio.create_task(until(feed, 0, lambda heard: revisions(heard) == [1]))
        await asyncio.sleep(0.01)
        store.revoke()
        feed.wake()
        async with asyncio.timeout(1):
            await watching
        running.cancel()

    run(story())


def test_a_returning_watcher_is_told_what_it_missed() -> None:
    async def story() -> None:
        store = Store()
        store.revoke(10)
        async with reading(store) as feed:
            heard = await until(feed, 4, lambda heard: len(revisions(heard)) == 6)
            assert revisions(heard) == [5, 6, 7, 8, 9, 10]

    run(story())


def test_missing_more_than_one_page_is_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "PAGE", 3)

    async def story() -> None:
        store = Store()
        store.revoke(10)
        async with reading(store) as feed:
            heard = await until(feed, 1, lambda heard: len(revisions(heard)) == 9)
            assert revisions(heard) == list(range(2, 11))

    run(story())


def test_a_slow_watcher_is_served_from_the_store() -> None:
    async def story() -> None:
        store = Store()
        async with reading(store, kept=5) as feed, aclosing(feed.watch(0)) as news:  # type: ignore[type-var]
            assert await anext(news) == Beat(0)
            store.revoke(100)
            feed.wake()
            await asyncio.sleep(5 * BEAT_SECONDS)
            heard: list[int] = []
            while len(heard) < 100:
                each = await anext(news)
                if isinstance(each, Revocation):
                    heard.append(each.revision)
            assert heard == list(range(1, 101))

    run(story())


@pytest.mark.parametrize("after", [2, 99], ids=["swept", "of another feed"])
def test_a_watcher_whose_place_is_gone_is_told_to_drop_everything(after: int) -> None:
    async def story() -> None:
        store = Store()
        store.revoke(10)
        store.kept_after = 5
        async with reading(store) as feed:
            heard = await until(feed, after, lambda heard: len(heard) == 1)
            assert heard == [Beat(10, reset=True)]

    run(story())


def test_every_watcher_is_reset_when_the_store_was_put_back() -> None:
    async def story() -> None:
        store = Store()
        store.revoke(10)
        async with reading(store) as feed:
            watching = asyncio.create_task(
                until(feed, 0, lambda heard: isinstance(heard[-1], Beat) and heard[-1].reset)
            )
            await asyncio.sleep(2 * BEAT_SECONDS)
            store.revision, store.events = 4, []
            heard = await watching
            assert heard[-1] == Beat(4, reset=True)

    run(story())


def test_without_the_store_there_is_no_beat_and_the_watcher_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "SILENT_SECONDS", 5 * BEAT_SECONDS)

    async def story() -> None:
        store = Store()
        async with reading(store) as feed, aclosing(feed.watch(0)) as news:  # type: ignore[type-var]
            await anext(news)
            store.away = True
            with pytest.raises(Refusal) as caught:
                await exhaust(news)
            assert caught.value.reason is SharedReason.STORE_UNAVAILABLE

    run(story())


def test_a_watcher_that_comes_while_the_store_is_silent_hears_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The revision that this process knows may be far behind by then."""
    monkeypatch.setattr(feed_module, "SILENT_SECONDS", 5 * BEAT_SECONDS)

    async def story() -> None:
        store = Store()
        async with reading(store) as feed, aclosing(feed.watch(0)) as news:  # type: ignore[type-var]
            await anext(news)
            store.away = True
            with pytest.raises(Refusal):
                await exhaust(news)
            for after in (0, 1):
                async with aclosing(feed.watch(after)) as later:  # type: ignore[type-var]
                    with pytest.raises(Refusal) as caught:
                        await anext(later)
                assert caught.value.reason is SharedReason.STORE_UNAVAILABLE

    run(story())


def test_the_feed_goes_on_when_the_store_is_back() -> None:
    async def story() -> None:
        store = Store()
        async with reading(store) as feed:
            watching = asyncio.create_task(until(feed, 0, lambda heard: revisions(heard) == [1]))
            await asyncio.sleep(2 * BEAT_SECONDS)
            store.away = True
            store.revoke()
            await asyncio.sleep(3 * BEAT_SECONDS)
            store.away = False
            assert revisions(await watching) == [1]

    run(story())
