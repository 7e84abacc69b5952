"""Marks boxes OFFLINE that fell silent; each is marked, logged and audited once.

Looking at every box is expensive where there are many. So that is done only once per half of the
time after which a silent box is OFFLINE. It finds the late boxes, those that have been silent for
that half; no other box can become OFFLINE before the next look, so the frequent runs in between
look only at these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agentworkspace.core.ids import WorkspaceId
from registry_service.commands import recording
from registry_service.commands.origin import SYSTEM, Origin
from registry_service.domain.liveness import MISSED_UNTIL_OFFLINE, half_patience
from registry_service.storage import pulse, registrations
from registry_service.storage.pulse import Uptime
from registry_service.storage.registrations import Silence as WentOffline
from registry_service.storage.store import Store

__all__ = ["Late", "MarkOffline", "WentOffline", "find_late", "run"]

# A look that finds so many may have missed some, so it is repeated soon.
MOST_LATE: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkOffline:
    # The boxes that `find_late` found.
    among: Iterable[WorkspaceId]
    origin: Origin = SYSTEM
    limit: int = 1000


def find_late(store: Store, *, limit: int = MOST_LATE) -> frozenset[WorkspaceId]:
    """The boxes that can be OFFLINE before `half_patience` has passed: at most `limit`, those that
    have been silent for longest.
    """
    with store.reading() as tx:
        uptime = pulse.read(tx)
        before = _silent_before(uptime, half_patience(uptime.heartbeat_interval))
        return frozenset() if before is None else registrations.late(tx, before=before, limit=limit)


def run(store: Store, command: MarkOffline) -> tuple[WentOffline, ...]:
    """Mark the silent ones. Returns those that this call, and no other, marked; if there are
    `limit` of them, call again.
    """
    with store.transaction() as tx:
        uptime = pulse.read(tx)
        before = _silent_before(uptime, MISSED_UNTIL_OFFLINE * uptime.heartbeat_interval)
        if before is None:
            return ()
        silent = registrations.mark_offline(
            tx, among=command.among, before=before, limit=command.limit
        )
        changes = [
            recording.change_of(
                item.workspace_id,
                item.tenant_id,
                "registration.offline",
                details={"last_heartbeat_time": item.last_heartbeat_time.isoformat()},
            )
            for item in silent
        ]
        recording.record(tx, command.origin, changes)
    return tuple(silent)


def _silent_before(uptime: Uptime, patience: timedelta) -> datetime | None:
    """The time before which a box that has been silent for `patience` reported last; None while
    the registry has not been up for so long, so that nobody can have been silent.
    """
    before = uptime.now - patience
    return before if uptime.up_since < before else None


class Late:
    """The late boxes that the last look found, and when the next look is due. Times are seconds of
    a clock that never goes back; `period` is how many seconds lie between two runs.
    """

    def __init__(self, interval: timedelta, *, period: float) -> None:
        # Two runs early, because the run that should look may itself come late.
        self._every = half_patience(interval).total_seconds() - 2 * period
        self._next = 0.0
        self.boxes: frozenset[WorkspaceId] = frozenset()

    def is_due(self, now: float) -> bool:
        return now >= self._next

    def found(self, boxes: frozenset[WorkspaceId], *, looked: float) -> None:
        """Keep what a look found that began at `looked`."""
        self.boxes = boxes
        self._next = looked if len(boxes) >= MOST_LATE else looked + max(0.0, self._every)

    def are_offline(self, gone: Iterable[WentOffline]) -> None:
        self.boxes -= {each.workspace_id for each in gone}
