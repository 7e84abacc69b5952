"""The sweep that finds boxes which fell silent; each death is announced once.

Only a box that is late, for half of what makes it OFFLINE, can be OFFLINE before that time has
passed once more. So whoever looks for the late ones that often needs to look at nobody else in
between, where a look at every box costs the more the more there are.
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

# A look that finds more is no whole one.
MOST_LATE: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkOffline:
    # What `find_late` found.
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
    """Returns those that this call, and nobody else, marked; call again while `limit` came back."""
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
    """Who was last heard of before this is silent for `patience`; None: nobody is, for the
    registry has not been up for so long.
    """
    before = uptime.now - patience
    return before if uptime.up_since < before else None


class Late:
    """What the last look found, and when the next one is due, in seconds of a clock that never
    goes back. `period`: how often the sweep runs.
    """

    def __init__(self, interval: timedelta, *, period: float) -> None:
        # The sweep after this one might come late, too.
        self._every = half_patience(interval).total_seconds() - 2 * period
        self._next = 0.0
        self.boxes: frozenset[WorkspaceId] = frozenset()

    def is_due(self, now: float) -> bool:
        return now >= self._next

    def found(self, boxes: frozenset[WorkspaceId], *, looked: float) -> None:
        """`looked`: when that look began."""
        self.boxes = boxes
        self._next = looked if len(boxes) >= MOST_LATE else looked + max(0.0, self._every)

    def are_offline(self, gone: Iterable[WentOffline]) -> None:
        self.boxes -= {each.workspace_id for each in gone}
