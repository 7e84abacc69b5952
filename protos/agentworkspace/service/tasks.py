"""Background work: repeats tasks, whatever fails, until the service stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog
from prometheus_client import Counter

from agentworkspace.core.refusal import Refusal
from agentworkspace.service.metric_series import begin_at_zero


@dataclass(frozen=True, slots=True)
class Task:
    """Calls `work` every `every` seconds, and at once when `wake` is set.

    `work` returns whether there is more to do at once. While there is, it takes at most `share` of
    the time, to leave the rest to calls. `at_stop`: it is also called when the service stops, until
    there is no more to do, so that what it holds in memory gets written.
    """

    name: str
    every: float
    work: Callable[[], Awaitable[bool | None]]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    share: float = 1.0
    at_stop: bool = False


class Tasks:
    """Runs tasks side by side. A task that fails is tried again.

    That is logged when it begins to fail and when it works again, not every time. Faults of the
    types in `known` are logged by their text, others with a traceback. `faults` counts all, by the
    name of the task.
    """

    def __init__(
        self,
        service: str,
        *,
        faults: Counter,
        known: tuple[type[Exception], ...] = (),
    ) -> None:
        self._faults = faults
        self._known: tuple[type[Exception], ...] = (Refusal, *known)
        self._log = structlog.get_logger(f"{service}.background")
        self._failing: set[str] = set()

    async def run(self, tasks: Sequence[Task], stop: asyncio.Event) -> None:
        """Run until `stop`; returns when every task has ended."""
        begin_at_zero(self._faults, [task.name for task in tasks])
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(self._repeat(task, stop), name=task.name)

    async def _repeat(self, task: Task, stop: asyncio.Event) -> None:
        clock = asyncio.get_running_loop().time
        while not stop.is_set():
            task.wake.clear()
            started = clock()
            more = await self._once(task)
            pause = (clock() - started) * (1 / task.share - 1) if more else task.every
            if pause:
                await first_of(pause, stop, task.wake)
        more = task.at_stop
        while more:
            more = await self._once(task)

    async def _once(self, task: Task) -> bool:
        try:
            more = await task.work()
        except Exception as fault:  # noqa: BLE001 - it is tried again; nobody else would
            self._faults.labels(task.name).inc()
            self._note_fault(task, fault)
            return False
        if task.name in self._failing:
            self._failing.discard(task.name)
            self._log.info("background work goes on", task=task.name)
        return bool(more)

    def _note_fault(self, task: Task, fault: Exception) -> None:
        if task.name in self._failing:
            return
        self._failing.add(task.name)
        known = isinstance(fault, self._known)
        self._log.warning(
            "background work failed, it will be tried again",
            task=task.name,
            fault=str(fault) if known else type(fault).__name__,
            exc_info=None if known else fault,
        )


async def first_of(seconds: float, *events: asyncio.Event) -> None:
    """Wait until any of the events is set, or so many seconds have passed."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
