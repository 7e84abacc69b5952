"""The registry's periodic tasks. Each one survives every fault and stops on request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

import structlog

from agentworkspace.service.audit.sealer import Sealer
from agentworkspace.service.store_faults import attempt
from agentworkspace.service.tasks import Task, Tasks
from agentworkspace.service.thread_pool import BlockingPool
from registry_service.domain.steady import flush_period
from registry_service.metrics import RegistryMetrics
from registry_service.storage.store import Store
from registry_service.workers import (
    flush_heartbeats,
    flush_last_uses,
    flush_rejected_registers,
    mark_offline,
    sweep,
    write_pulse,
)
from registry_service.workers.mark_offline import Late, MarkOffline
from registry_service.workers.sweep import Sweep
from registry_service.workers.write_behind import (
    Key,
    LastHeard,
    LastUses,
    Newest,
    RefusedLedger,
    Value,
)

T = TypeVar("T")

PULSE_SECONDS: Final = 2.0
# How often the newest use of each token is written.
LAST_USES_SECONDS: Final = 60.0
# What was remembered is written in portions of so many rows, with pauses between them: one large
# statement, or portions without a pause, would hold up every call.
WRITTEN_AT_ONCE: Final = 500
# The part of the time that a flush may take up; see `Task`.
FLUSH_SHARE: Final = 0.5
REFUSED_SECONDS: Final = 5.0
OFFLINE_SECONDS: Final = 5.0
SWEEP_SECONDS: Final = 300.0


class Background:
    """Runs the tasks on a pool of their own, so that no load of calls delays the pulse."""

    def __init__(
        self,
        *,
        store: Store,
        pool: BlockingPool,
        last_uses: LastUses,
        last_heard: LastHeard,
        heartbeat_interval: timedelta,
        refused: RefusedLedger,
        metrics: RegistryMetrics,
        sealer: Sealer,
        on_pulse: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._pool = pool
        self._last_uses = last_uses
        self._last_heard = last_heard
        self._flush_period = flush_period(heartbeat_interval)
        self._late = Late(heartbeat_interval, period=OFFLINE_SECONDS)
        self._refused = refused
        self._metrics = metrics
        self._sealer = sealer
        self._on_pulse = on_pulse
        self._log = structlog.get_logger("registry.background")

    def tasks(self) -> list[Task]:
        return [
            Task("pulse", PULSE_SECONDS, self.write_pulse),
            Task(
                "last-uses",
                LAST_USES_SECONDS,
                self.flush_last_uses,
                share=FLUSH_SHARE,
                at_stop=True,
            ),
            Task(
                "heartbeats",
                self._flush_period.total_seconds(),
                self.flush_heartbeats,
                share=FLUSH_SHARE,
                at_stop=True,
            ),
            Task("refused-registers", REFUSED_SECONDS, self.flush_refused, at_stop=True),
            Task("offline", OFFLINE_SECONDS, self.mark_offline),
            Task("sweep", SWEEP_SECONDS, self.sweep),
            *self._sealer.tasks(self._attempt),
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`; returns when every task has ended."""
        tasks = Tasks("registry", faults=self._metrics.faults)
        await tasks.run(self.tasks(), stop)

    async def write_pulse(self) -> None:
        pulse = await self._attempt(write_pulse.run)
        if pulse.after_gap:
            self._log.info(
                "no registry was up until now; boxes get time to report before any is OFFLINE",
                up_since=pulse.up_since.isoformat(),
            )
        await self._on_pulse()

    async def flush_last_uses(self) -> bool:
        return await self._flush(self._last_uses, flush_last_uses.run)

    async def flush_heartbeats(self) -> bool:
        return await self._flush(self._last_heard, flush_heartbeats.run)

    async def _flush(
        self,
        remembered: Newest[Key, Value],
        write: Callable[[Store, Mapping[Key, Value]], frozenset[Key]],
    ) -> bool:
        """Write one portion; returns whether there may be another. Rows that another transaction
        holds, or that could not be written, are kept for a later portion.
        """
        portion = remembered.take(WRITTEN_AT_ONCE)
        try:
            busy = await self._pool.run(attempt, partial(write, self._store, portion))
        except BaseException:
            remembered.put_back(portion, portion)
            raise
        remembered.put_back(portion, busy)
        return len(busy) < len(portion) == WRITTEN_AT_ONCE

    async def flush_refused(self) -> None:
        counted = self._refused.take()
        if not counted:
            return
        try:
            busy = await self._attempt(partial(flush_rejected_registers.run, refused=counted))
        except BaseException:
            self._refused.put_back(counted, {each.workspace_id for each in counted})
            raise
        self._refused.put_back(counted, busy)

    async def mark_offline(self) -> bool:
        late, now = self._late, asyncio.get_running_loop().time()
        if late.is_due(now):
            late.found(await self._attempt(mark_offline.find_late), looked=now)
        if not late.boxes:
            return False
        command = MarkOffline(among=late.boxes)
        gone = await self._attempt(partial(mark_offline.run, command=command))
        late.are_offline(gone)
        for each in gone:
            self._log.warning(
                "a box fell silent",
                workspace_id=each.workspace_id,
                tenant_id=each.tenant_id,
                incarnation=each.incarnation,
                last_heartbeat_time=each.last_heartbeat_time.isoformat(),
            )
        return len(gone) == command.limit

    async def sweep(self) -> bool:
        command = Sweep()
        swept = await self._attempt(partial(sweep.run, command=command))
        if swept.requests or swept.revocations:
            self._log.debug("swept", requests=swept.requests, revocations=swept.revocations)
        return command.limit in (swept.requests, swept.revocations)

    async def _attempt(self, command: Callable[[Store], T]) -> T:
        return await self._pool.run(attempt, partial(command, self._store))
