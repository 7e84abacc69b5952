"""Calls that wait together are answered together, and each gets its own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.service import coalescer
from agentworkspace.service.coalescer import Coalescer
from agentworkspace.service.thread_pool import BlockingPool


class Database:
    """Answers when it is let; remembers the batches it was given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.let = threading.Semaphore(0)

    def answer(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        self.entered.release()
        self.let.acquire()
        return [ValueError(str(item)) if item < 0 else item * 10 for item in items]

    async def until_entered(self) -> None:
        await asyncio.to_thread(self.entered.acquire)


def on_threads(
    pool: BlockingPool, work: Callable[[Sequence[int]], Sequence[int | Exception]]
) -> Callable[[Sequence[int]], Awaitable[Sequence[int | Exception]]]:
    return lambda items: pool.run(work, items)


@asynccontextmanager
async def a_coalescer(
    database: Database, *, max_batch: int = 100, max_waiting: int = 100, **more: Any
) -> AsyncIterator[Coalescer[int, int]]:
    pool = BlockingPool(threads=2, max_waiting=10)
    yield Coalescer(
        on_threads(pool, database.answer), max_batch=max_batch, max_waiting=max_waiting, **more
    )
    for _ in range(100):
        database.let.release()
    assert await pool.end(5)


async def asked(queue: Coalescer[int, int], *items: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(queue.ask(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


def test_an_idle_queue_sends_the_first_call_alone_and_the_rest_together() -> None:
    async def story() -> None:
        database = Database()
        async with a_coalescer(database) as queue:
            first = await asked(queue, 1)
            await database.until_entered()
            rest = await asked(queue, 2, 3, 4)
            assert queue.waiting == 3
            database.let.release()
            database.let.release()
            assert await asyncio.gather(*first, *rest) == [10, 20, 30, 40]
            assert database.batches == [[1], [2, 3, 4]]

    asyncio.run(story())


def test_a_batch_is_never_larger_than_allowed() -> None:
    async def story() -> None:
        database = Database()
        for _ in range(10):
            database.let.release()
        async with a_coalescer(database, max_batch=2) as queue:
            assert await asyncio.gather(*(queue.ask(item) for item in range(5))) == [
                0,
                10,
                20,
                30,
                40,
            ]
            assert max(map(len, database.batches)) <= 2

    asyncio.run(story())


def test_the_failure_of_one_item_is_its_own() -> None:
    async def story() -> None:
        database = Database()
        async with a_coalescer(database) as queue:
            tasks = await asked(queue, 1, -2, 3)
            database.let.release()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert outcomes[0] == 10
            assert isinstance(outcomes[1], ValueError)
            assert outcomes[2] == 30

    asyncio.run(story())


def test_a_failed_batch_fails_every_item_and_the_queue_goes_on() -> None:
    async def story() -> None:
        fail = [True]

        def run(items: Sequence[int]) -> list[int]:
            if fail:
                fail.clear()
                raise ConnectionError("gone")
            return list(items)

        pool = BlockingPool(threads=1, max_waiting=10)
        queue: Coalescer[int, int] = Coalescer(on_threads(pool, run), max_batch=10, max_waiting=10)
        outcomes = await asyncio.gather(queue.ask(1), queue.ask(2), return_exceptions=True)
        assert [type(each) for each in outcomes] == [ConnectionError, ConnectionError]
        assert await queue.ask(3) == 3
        assert await pool.end(5)

    asyncio.run(story())


def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    async def story() -> None:
        database = Database()
        async with a_coalescer(database, max_waiting=2) as queue:
            await asked(queue, 1)
            await database.until_entered()
            await asked(queue, 2, 3)
            with pytest.raises(Refusal) as caught:
                await queue.ask(4)
            assert caught.value.reason is SharedReason.OVERLOADED
            assert caught.value.retry_after is not None

    asyncio.run(story())


def test_a_call_that_was_given_up_is_left_out_and_makes_room() -> None:
    async def story() -> None:
        database = Database()
        async with a_coalescer(database, max_waiting=2) as queue:
            (first,) = await asked(queue, 1)
            await database.until_entered()
            second, third = await asked(queue, 2, 3)
            second.cancel()
            await asyncio.sleep(0)
            (fourth,) = await asked(queue, 4)
            database.let.release()
            database.let.release()
            assert [await each for each in (first, third, fourth)] == [10, 30, 40]
            assert database.batches == [[1], [3, 4]]

    asyncio.run(story())


def test_an_answer_whose_caller_left_meanwhile_is_handed_over_before_the_next_batch() -> None:
    async def story() -> None:
        database, told = Database(), list[tuple[int, int]]()
        pool = BlockingPool(threads=1, max_waiting=10)

        async def left(gone: Sequence[tuple[int, int]]) -> None:
            assert len(database.batches) == 1
            told.extend(gone)
            raise ConnectionError("gone")

        queue: Coalescer[int, int] = Coalescer(
            on_threads(pool, database.answer), max_batch=3, max_waiting=10, left=left
        )
        first, bad, stays = await asked(queue, 1, -2, 3)
        await database.until_entered()
        first.cancel()
        bad.cancel()
        (later,) = await asked(queue, 4)
        database.let.release()
        database.let.release()
        assert [await stays, await later] == [30, 40]
        assert told == [(1, 10)]
        assert await pool.end(5)

    asyncio.run(story())


def test_the_items_of_one_call_are_answered_in_order_each_with_its_own_failure() -> None:
    async def story() -> None:
        database = Database()
        database.let.release()
        async with a_coalescer(database) as queue:
            first, second, third = await queue.ask_all([1, -2, 3])
            assert (first, third) == (10, 30)
            assert isinstance(second, ValueError)
            assert database.batches == [[1, -2, 3]]

    asyncio.run(story())


def test_the_items_of_one_call_fit_all_or_none_waits() -> None:
    async def story() -> None:
        database = Database()
        async with a_coalescer(database, max_waiting=3) as queue:
            first = await asked(queue, 1)
            await database.until_entered()
            second = await asked(queue, 2)
            with pytest.raises(Refusal) as caught:
                await queue.ask_all([3, 4, 5])
            assert caught.value.reason is SharedReason.OVERLOADED
            assert queue.waiting == 1
            both = asyncio.create_task(queue.ask_all([6, 7]))
            await asyncio.sleep(0)
            database.let.release()
            database.let.release()
            assert await asyncio.gather(*first, *second) == [10, 20]
            assert await both == [60, 70]
            assert database.batches == [[1], [2, 6, 7]]

    asyncio.run(story())


def test_a_call_for_more_than_there_ever_is_room_for_is_let_in_where_nobody_waits() -> None:
    async def story() -> None:
        database = Database()
        async with a_coalescer(database, max_waiting=2) as queue:
            many = asyncio.create_task(queue.ask_all([1, 2, 3]))
            await database.until_entered()
            database.let.release()
            assert await many == [10, 20, 30]

    asyncio.run(story())


def test_the_items_of_a_call_that_was_given_up_are_left_out_and_make_room() -> None:
    async def story() -> None:
        database = Database()
        async with a_coalescer(database, max_waiting=3) as queue:
            (first,) = await asked(queue, 1)
            await database.until_entered()
            many = asyncio.create_task(queue.ask_all([2, 3, 4]))
            await asyncio.sleep(0)
            many.cancel()
            await asyncio.sleep(0)
            others = asyncio.create_task(queue.ask_all([5, 6]))
            await asyncio.sleep(0)
            database.let.release()
            database.let.release()
            assert await first == 10
            assert await others == [50, 60]
            assert many.cancelled()
            assert database.batches == [[1], [5, 6]]

    asyncio.run(story())


def test_the_items_of_a_call_that_leaves_while_they_are_worked_on_are_handed_over() -> None:
    async def story() -> None:
        database, told = Database(), list[tuple[int, int]]()

        async def left(gone: Sequence[tuple[int, int]]) -> None:
            told.extend(gone)

        async with a_coalescer(database, left=left) as queue:
            many = asyncio.create_task(queue.ask_all([1, -2, 3]))
            await database.until_entered()
            many.cancel()
            (later,) = await asked(queue, 4)
            database.let.release()
            database.let.release()
            assert await later == 40
            assert told == [(1, 10), (3, 30)]

    asyncio.run(story())


def test_a_second_batch_begins_beside_the_first_once_so_many_wait() -> None:
    async def story() -> None:
        database = Database()
        async with a_coalescer(database, lanes=2, beside=3) as queue:
            first = await asked(queue, 1)
            await database.until_entered()
            rest = await asked(queue, 2, 3)
            # Whatever is ready to run has run by now, and begun nothing.
            for _ in range(10):
                await asyncio.sleep(0)
            assert queue.waiting == 2
            rest += await asked(queue, 4)
            await database.until_entered()
            assert database.batches == [[1], [2, 3, 4]]
            third = await asked(queue, 5, 6, 7, 8)
            # There is no third beside them.
            assert queue.waiting == 4
            for _ in range(3):
                database.let.release()
            assert await asyncio.gather(*first, *rest) == [10, 20, 30, 40]
            assert await asyncio.gather(*third) == [50, 60, 70, 80]

    asyncio.run(story())


def test_too_few_for_a_batch_beside_are_not_forgotten_when_both_end() -> None:
    async def story() -> None:
        database = Database()
        async with a_coalescer(database, lanes=2, beside=3) as queue:
            first = await asked(queue, 1)
            await database.until_entered()
            second = await asked(queue, 2, 3, 4)
            await database.until_entered()
            last = await asked(queue, 5)
            for _ in range(3):
                database.let.release()
            async with asyncio.timeout(20):
                assert await asyncio.gather(*first, *second, *last) == [10, 20, 30, 40, 50]
            assert database.batches[2:] == [[5]]

    asyncio.run(story())


@pytest.mark.parametrize("lanes", [{}, {"lanes": 2}, {"lanes": 2, "beside": 4}], ids=str)
def test_an_item_that_arrives_just_as_a_lane_ends_is_not_forgotten(lanes: dict[str, Any]) -> None:
    async def story() -> None:
        pool = BlockingPool(threads=2, max_waiting=100)
        queue: Coalescer[int, int] = Coalescer(
            on_threads(pool, list), max_batch=3, max_waiting=1000, **lanes
        )

        async def caller(start: int) -> None:
            for item in range(start, start + 200):
                assert await queue.ask(item) == item

        async with asyncio.timeout(20):
            await asyncio.gather(*(caller(1000 * each) for each in range(10)))
        assert await pool.end(5)

    asyncio.run(story())


def test_a_full_pool_refuses_and_frees_itself() -> None:
    async def story() -> None:
        pool = BlockingPool(threads=1, max_waiting=1)
        gate = threading.Event()
        running = asyncio.create_task(pool.run(gate.wait))
        waiting = asyncio.create_task(pool.run(gate.wait))
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as caught:
            await pool.run(gate.wait)
        assert caught.value.reason is SharedReason.OVERLOADED
        gate.set()
        await asyncio.gather(running, waiting)
        assert await pool.run(int, "7") == 7
        assert await pool.end(5)

    asyncio.run(story())


def test_the_rest_of_what_has_begun_is_run_without_room_and_without_its_caller() -> None:
    async def story() -> None:
        pool = BlockingPool(threads=1, max_waiting=0)
        gate, done = threading.Event(), threading.Event()
        running = asyncio.create_task(pool.run(gate.wait))
        await asyncio.sleep(0)
        rest = asyncio.create_task(pool.finish(done.set))
        await asyncio.sleep(0)
        rest.cancel()
        gate.set()
        assert await running
        assert await asyncio.to_thread(done.wait, 10)
        assert await pool.end(5)

    asyncio.run(story())


def pauses_after(size: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the lane waits after a batch of this size when many calls come; at most 3 fit."""
    pauses: list[float] = []
    asleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asleep(0)

    async def answer(items: Sequence[int]) -> Sequence[int | Exception]:
        return items

    async def story() -> None:
        queue: Coalescer[int, int] = Coalescer(answer, max_batch=3, max_waiting=100)
        await asyncio.gather(*(queue.ask(item) for item in range(size)))
        while not pauses:
            await asleep(0)

    monkeypatch.setattr(coalescer, "BUSY_A_SECOND", 0.0)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(story())
    return pauses


def test_when_many_come_the_next_batch_begins_10_ms_after_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (pause,) = pauses_after(2, monkeypatch)
    assert 0.0 < pause <= 0.01


def test_after_a_full_batch_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pauses_after(3, monkeypatch) == [0]
