"""Makes the queues in which calls wait to share a batch, and counts them for Prometheus."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Gauge, Histogram

from agentworkspace.service.coalescer import Coalescer, Left, RunBatch, dropped
from agentworkspace.service.store_faults import attempt
from agentworkspace.service.thread_pool import BlockingPool

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


class Batches:
    """Makes queues. One for each process and metrics registry: Prometheus refuses a name twice.

    In each queue up to `max_waiting` calls wait, and a batch takes up to `max_batch` of them, or
    fewer where the queue has a smaller limit. Blocking work runs on the pool.
    """

    def __init__(
        self, pool: BlockingPool, *, max_batch: int, max_waiting: int, collectors: CollectorRegistry
    ) -> None:
        self._pool = pool
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._sizes = Histogram(
            "agentworkspace_batch_size",
            "Calls that one batch answered.",
            ("queue",),
            buckets=_BUCKETS,
            registry=collectors,
        )
        self._depth = Gauge(
            "agentworkspace_batch_queue_depth",
            "Calls that wait for a batch.",
            ("queue",),
            registry=collectors,
        )

    def queue(
        self,
        name: str,
        run: RunBatch[Item, Answer],
        *,
        most: int | None = None,
        lanes: int = 1,
        beside: int = 1,
        max_waiting: int | None = None,
        left: Left[Item, Answer] = dropped,
    ) -> Coalescer[Item, Answer]:
        """A queue whose batches run on the event loop; at most `most` in one, `lanes` at once, a
        further one once `beside` calls wait.
        """
        made = Coalescer(
            run,
            max_batch=min(self._max_batch, most or self._max_batch),
            max_waiting=max_waiting or self._max_waiting,
            lanes=lanes,
            beside=beside,
            observe=self._sizes.labels(name).observe,
            left=left,
            name=f"batch {name}",
        )
        # Read when scraped, so that counting costs a call nothing.
        self._depth.labels(name).set_function(lambda: made.waiting)
        return made

    def on_thread(
        self,
        name: str,
        run: Callable[[Sequence[Item]], Sequence[Answer | Exception]],
        *,
        most: int | None = None,
        lanes: int = 1,
        beside: int = 1,
        left: Left[Item, Answer] = dropped,
        begun: bool = False,
    ) -> Coalescer[Item, Answer]:
        """The same for work that blocks, each batch on one thread of the pool. `begun`: it is the
        rest of what has begun, which is never turned away.
        """
        start = self._pool.finish if begun else self._pool.run

        def on_pool(items: Sequence[Item]) -> Awaitable[Sequence[Answer | Exception]]:
            return start(attempt, partial(run, items))

        room = sys.maxsize if begun else None
        return self.queue(
            name, on_pool, most=most, lanes=lanes, beside=beside, max_waiting=room, left=left
        )
