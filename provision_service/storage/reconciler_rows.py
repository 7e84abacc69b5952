"""The reconciler's row: one replica at a time, and one budget a minute for all of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from provision_service.domain.lifecycle import NeedsLaunchReason
from provision_service.storage.models import WorkspaceRow
from provision_service.storage.models_internal import ReconcilerRow

MINUTE: Final = timedelta(minutes=1)
_R = ReconcilerRow


def take(tx: Connection) -> int | None:
    """How many were marked within this minute; None when another replica is at it."""
    tx.execute(insert(ReconcilerRow).values(one_row=True).on_conflict_do_nothing())
    is_over = _R.minute_start <= func.clock_timestamp() - MINUTE
    query = select(_R.minute_marked, is_over.label("is_over")).with_for_update(skip_locked=True)
    row = tx.execute(query).one_or_none()
    if row is None:
        return None
    if row.is_over:
        tx.execute(
            update(ReconcilerRow).values(minute_start=func.clock_timestamp(), minute_marked=0)
        )
        return 0
    return int(row.minute_marked)


def settle(tx: Connection, *, marked: int, paused_reason: str) -> None:
    """Count what was marked, and say why no more was."""
    tx.execute(
        update(ReconcilerRow).values(
            minute_marked=_R.minute_marked + marked, paused_reason=paused_reason
        )
    )


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
