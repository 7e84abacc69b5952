"""The reconciler's row: it lets one replica work at a time, and keeps the budget of marks in any
minute that they share.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from provision_service.domain.lifecycle import NeedsLaunchReason
from provision_service.storage.models import WorkspaceRow
from provision_service.storage.models_internal import ReconcilerRow

MINUTE_SECONDS: Final = 60.0
_R = ReconcilerRow


@dataclass(frozen=True, slots=True)
class Recent:
    """What was marked within the last minute: the database's clock in seconds, and how many."""

    now: float
    marks: tuple[tuple[float, int], ...]

    @property
    def used(self) -> int:
        """How much of the budget is gone."""
        return sum(count for _, count in self.marks)


def take(tx: Connection) -> Recent | None:
    """What the last minute used up; None when another replica is at it.

    The minute slides, so that two rounds around a full minute do not have a budget each.
    """
    tx.execute(insert(ReconcilerRow).values(one_row=True).on_conflict_do_nothing())
    clock = func.extract("epoch", func.clock_timestamp()).label("now")
    row = tx.execute(select(_R.marks, clock).with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return None
    now = float(row.now)
    recent = [(float(when), int(count)) for when, count in row.marks]
    return Recent(now, tuple(one for one in recent if one[0] > now - MINUTE_SECONDS))


def settle(tx: Connection, recent: Recent, *, marked: int, paused_reason: str) -> None:
    """Count what was marked, and say why no more was."""
    marks = [*recent.marks, (recent.now, marked)] if marked else list(recent.marks)
    tx.execute(update(ReconcilerRow).values(marks=marks, paused_reason=paused_reason))


def marked(tx: Connection) -> frozenset[str]:
    """Every workspace that asks to be launched."""
    query = select(WorkspaceRow.workspace_id).where(WorkspaceRow.needs_launch_reason.is_not(None))
    return frozenset(tx.scalars(query))


def mark(
    tx: Connection, workspace_id: str, reason: NeedsLaunchReason, since: datetime | None
) -> None:
    """The workspace asks to be launched."""
    tx.execute(
        update(WorkspaceRow)
        .where(
            WorkspaceRow.workspace_id == workspace_id,
            WorkspaceRow.needs_launch_reason.is_(None),
        )
        .values(
            needs_launch_reason=reason.value,
            needs_launch_since=since if since is not None else func.clock_timestamp(),
            update_time=func.clock_timestamp(),
        )
    )
