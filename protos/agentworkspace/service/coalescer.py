"""Coalescing: calls that arrive while a batch is at the database form the next batch.

An idle coalescer adds no wait: the first call is sent at once, alone. Under load batches grow by
themselves, so that one statement and one commit serve many calls.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from opentelemetry.trace import SpanContext

from agentworkspace.core import tracing
from agentworkspace.service.thread_pool import overloaded

Item = TypeVar("Item")
Answer = TypeVar("Answer")

# Returns one outcome for each item, in order; an exception is the failure of that item alone.
RunBatch = Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]]
# Given the items, and their answers, of callers that left while these were worked on.
Left = Callable[[Sequence[tuple[Item, Answer]]], Awaitable[None]]

# From this many items a second on, small batches would use up the processor. Batches then begin at
# least CADENCE_SECONDS apart, so that more calls share each.
BUSY_A_SECOND: Final = 1500.0
CADENCE_SECONDS: Final = 0.010
# The rate is measured over stretches of at least this length.
STRETCH_SECONDS: Final = 0.02
_UNRECORDED: Final = nullcontext()


@dataclass(slots=True)
class _Waiting(Generic[Item, Answer]):
    item: Item
    answer: asyncio.Future[Answer]
    # The span of the call that waits, where one is recorded.
    span: SpanContext | None = None


class _Rate:
    """How many items came per second in the last whole stretch, so that a pause is forgotten."""

    def __init__(self) -> None:
        self._began = 0.0
        self._count = 0
        self._a_second = 0.0

    def is_busy(self, size: int, now: float) -> bool:
        """Count another batch of `size`; `now` is in seconds of the loop's clock."""
        self._count += size
        elapsed = now - self._began
        if elapsed >= STRETCH_SECONDS:
            self._a_second = self._count / elapsed
            self._began, self._count = now, 0
        return self._a_second >= BUSY_A_SECOND


async def dropped(_answers: Sequence[tuple[Item, Answer]]) -> None:
    """Nobody minds."""


class Coalescer(Generic[Item, Answer]):
    """Answers items one by one and works on them batch by batch.

    `run` is called with 1 to `max_batch` items, and never cancelled. When it raises, every item of
    the batch fails with that; otherwise each item has its own answer or its own exception. `lanes`
    is how many batches may run at once; one begins beside another once `beside` items wait.
    `observe` is told the size of each batch. The span of a
    batch is called `name`; its parent is one of the calls in it, and it links to the others.

    A caller that is cancelled (its deadline passed, it hung up) is left out of the batch if it
    has not been sent. If it has, `left` is given its item and its answer, as a rule before the next
    batch.
    """

    def __init__(
        self,
        run: RunBatch[Item, Answer],
        *,
        max_batch: int,
        max_waiting: int,
        lanes: int = 1,
        beside: int = 1,
        observe: Callable[[int], None] = lambda size: None,
        left: Left[Item, Answer] = dropped,
        name: str = "batch",
    ) -> None:
        self._name = name
        self._left = left
        self._tracer = tracing.recorder()
        self._run = run
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._lanes = lanes
        self._beside = beside
        self._observe = observe
        self._waiting: deque[_Waiting[Item, Answer]] = deque()
        self._busy = 0
        self._rate = _Rate()
        # The event loop holds tasks only weakly, and a lane must not be collected within a batch.
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def ask(self, item: Item) -> Answer:
        """The answer to this item. Refusal OVERLOADED when too many wait already."""
        self._require_room(1)
        answer = self._queued(item)
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                # Cancelled in the moment between the answer and hearing of it.
                self._keep(asyncio.create_task(self._tell_left(item, answer.result())))
            raise

    async def ask_all(self, items: Sequence[Item]) -> list[Answer | BaseException]:
        """The answer to each item, or its own failure. Refusal OVERLOADED as for one."""
        self._require_room(len(items))
        return await asyncio.gather(*map(self._queued, items), return_exceptions=True)

    def _require_room(self, items: int) -> None:
        if self._lacks_room(items):
            self._forget_the_gone()
            if self._lacks_room(items):
                raise overloaded()

    def _lacks_room(self, items: int) -> bool:
        """A call for more than there ever is room for is let in where nobody waits: otherwise it
        would be told for ever to come back.
        """
        return bool(self._waiting) and len(self._waiting) + items > self._max_waiting

    def _queued(self, item: Item) -> asyncio.Future[Answer]:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        span = None if self._tracer is None else tracing.current()
        self._waiting.append(_Waiting(item, answer, span))
        if self._wants_lane(self._busy):
            self._open_lane()
        return answer

    def _wants_lane(self, busy: int) -> bool:
        """Whether another batch begins while so many run."""
        return not busy or (busy < self._lanes and len(self._waiting) >= self._beside)

    def _open_lane(self) -> None:
        self._busy += 1
        # A batch belongs to no call, so it does not run in the context of the first one.
        self._keep(asyncio.create_task(self._work(), context=contextvars.Context()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell_left(self, item: Item, answer: Answer) -> None:
        await self._left([(item, answer)])

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._wants_lane(self._busy - 1) and (batch := self._next_batch()):
                self._observe(len(batch))
                began = loop.time()
                await self._answer(batch)
                # Let arrivals in before the next batch; when many come, wait for some more of them.
                now = loop.time()
                busy = self._rate.is_busy(len(batch), now) and len(batch) < self._max_batch
                await asyncio.sleep(max(0.0, began + CADENCE_SECONDS - now) if busy else 0)
        finally:
            # Without an await after the queue was seen empty, so that no item is missed.
            self._busy -= 1

    async def _answer(self, batch: Sequence[_Waiting[Item, Answer]]) -> None:
        try:
            with self._span_of(batch):
                outcomes = await self._run([each.item for each in batch])
            gone = _settle(batch, outcomes)
            if gone:
                await self._left(gone)
        except Exception as failure:  # noqa: BLE001 - it is the answer of every item
            _settle(batch, [failure] * len(batch))
        except BaseException:
            for each in batch:
                each.answer.cancel()
            raise

    def _span_of(self, batch: Sequence[_Waiting[Item, Answer]]) -> AbstractContextManager[object]:
        if self._tracer is None:
            return _UNRECORDED
        return tracing.batch_span(
            self._tracer, self._name, [each.span for each in batch if each.span is not None]
        )

    def _next_batch(self) -> list[_Waiting[Item, Answer]]:
        batch: list[_Waiting[Item, Answer]] = []
        while self._waiting and len(batch) < self._max_batch:
            each = self._waiting.popleft()
            if not each.answer.done():
                batch.append(each)
        return batch

    def _forget_the_gone(self) -> None:
        self._waiting = deque(each for each in self._waiting if not each.answer.done())


def _settle(
    batch: Sequence[_Waiting[Item, Answer]], outcomes: Sequence[Answer | Exception]
) -> list[tuple[Item, Answer]]:
    """The answers whose callers have left, with their items."""
    gone: list[tuple[Item, Answer]] = []
    if len(outcomes) != len(batch):
        raise RuntimeError(f"{len(batch)} items were answered by {len(outcomes)} outcomes")
    for each, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, Exception):
            if not each.answer.done():
                each.answer.set_exception(outcome)
        elif each.answer.done():
            gone.append((each.item, outcome))
        else:
            each.answer.set_result(outcome)
    return gone
