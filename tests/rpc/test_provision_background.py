"""Background work goes on through faults, can be woken, and stops when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from agentworkspace.service.tasks import Task, Tasks
from provision_service.metrics import ProvisionMetrics


class Work:
    """Counts its turns; fails on those it is told to, and says there is more on others."""

    def __init__(self, failing: set[int] | None = None, more: set[int] | None = None) -> None:
        self.turns = 0
        self.failing = failing or set()
        self.more = more or set()

    async def __call__(self) -> bool:
        self.turns += 1
        if self.turns in self.failing:
            raise RuntimeError("a fault of this turn")
        return self.turns in self.more


async def running(task: Task, until: Callable[[], bool]) -> CollectorRegistry:
    """Run the task until the condition holds, then stop it."""
    collectors = CollectorRegistry()
    stop = asyncio.Event()
    tasks = Tasks("provision", faults=ProvisionMetrics(collectors).faults)
    run = asyncio.create_task(tasks.run([task], stop))
    async with asyncio.timeout(5):
        while not until():  # noqa: ASYNC110 - what is waited for is a count, not an event
            await asyncio.sleep(0.005)
        stop.set()
        await run
    return collectors


async def test_a_fault_is_counted_and_the_next_turn_comes() -> None:
    work = Work(failing={1, 2})
    collectors = await running(Task("outbox", 0.01, work), lambda: work.turns >= 4)
    faults = collectors.get_sample_value("provision_background_faults_total", {"task": "outbox"})
    assert faults == 2


async def test_more_to_do_is_done_at_once() -> None:
    work = Work(more={1, 2, 3})
    await running(Task("outbox", 60, work), lambda: work.turns == 4)


async def test_a_task_with_a_share_of_the_time_goes_on_by_itself() -> None:
    work = Work(more={1, 2, 3})
    await running(Task("observer", 3600, work, share=0.5), lambda: work.turns == 4)


async def test_a_wake_up_does_not_wait_for_the_hour() -> None:
    work = Work()
    wake = asyncio.Event()

    def woken() -> bool:
        if work.turns == 1:
            wake.set()
        return work.turns >= 2

    await running(Task("outbox", 3600, work, wake), woken)


async def test_it_stops_without_waiting_for_its_next_turn() -> None:
    work = Work()
    await running(Task("sweep", 3600, work), lambda: work.turns == 1)
