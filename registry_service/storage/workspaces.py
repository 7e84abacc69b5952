"""Reads and writes the workspace's row, which every decision locks first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from agentworkspace.core.ids import TenantId, WorkspaceId
from registry_service.domain.standing import Fence, Workspace

# The columns that `of_row` reads, without ids and the incarnation.
DECIDING: Final = (
    "registered_incarnation, ticket_required, evidence_required, fence, compromised, box_left,"
    " retire_time"
)
# After a restore a launch skips so many numbers, more than a workspace can have had launches since
# the backup.
LEFT_OUT: Final = 10_000
_READ: Final = """
SELECT *, clock_timestamp() AS now FROM registry.workspaces WHERE workspace_id = %(workspace_id)s
"""
# The clock is read outside the locking subquery, so only after the wait for the lock.
_LOCK: Final = """
SELECT locked.*, clock_timestamp() AS now
FROM (SELECT * FROM registry.workspaces WHERE workspace_id = %(workspace_id)s FOR UPDATE) locked
"""
_LOCK_ALL: Final = """
SELECT workspace_id FROM registry.workspaces
WHERE workspace_id = ANY(%(workspace_ids)s::uuid[])
ORDER BY workspace_id FOR UPDATE
"""
_LOCK_FREE: Final = _LOCK_ALL.replace("FOR UPDATE", "FOR UPDATE SKIP LOCKED")
_INSERT: Final = """
WITH fresh AS (
    INSERT INTO registry.workspaces
        (workspace_id, tenant_id, create_time, ticket_required, evidence_required, retire_time)
    VALUES (%(workspace_id)s, %(tenant_id)s, clock_timestamp(), %(ticket_required)s,
            %(evidence_required)s, CASE WHEN %(retired)s THEN clock_timestamp() END)
    ON CONFLICT (workspace_id) DO NOTHING
    RETURNING *
), registration AS (
    INSERT INTO registry.registrations (workspace_id, state, changed)
    SELECT workspace_id, CASE WHEN %(retired)s THEN 'REMOVED' ELSE 'PENDING' END,
           pg_current_xact_id()::text::bigint
    FROM fresh
)
SELECT *, create_time AS now FROM fresh
"""
_REQUIRE: Final = """
UPDATE registry.workspaces
SET ticket_required = ticket_required OR %(ticket)s,
    evidence_required = evidence_required OR %(evidence)s
WHERE workspace_id = %(workspace_id)s
"""
# Marks the registration as changed, too, for watchers.
_LAUNCH: Final = """
WITH told AS (
    UPDATE registry.registrations SET changed = pg_current_xact_id()::text::bigint
    WHERE workspace_id = %(workspace_id)s
)
UPDATE registry.workspaces
SET incarnation = greatest(incarnation, %(minimum)s) + 1
                  + CASE WHEN restore_time IS NULL THEN 0 ELSE %(left_out)s END,
    launch_time = %(now)s,
    fence = NULL, compromised = false, box_left = false, restore_time = NULL
WHERE workspace_id = %(workspace_id)s
RETURNING incarnation
"""
_COUNT_ON: Final = """
UPDATE registry.workspaces
SET incarnation = %(number)s, fence = NULL, compromised = false, box_left = false
WHERE workspace_id = %(workspace_id)s AND incarnation < %(number)s
"""
_ADMITTED: Final = """
UPDATE registry.workspaces
SET registered_incarnation = greatest(registered_incarnation, %(incarnation)s), box_left = false
WHERE workspace_id = %(workspace_id)s
"""
_LEFT: Final = """
UPDATE registry.workspaces SET box_left = true WHERE workspace_id = %(workspace_id)s
"""
# Both fences can stand at once: then `fence` is SUSPENDED, and `compromised` is set beside it.
_FENCE: Final = """
UPDATE registry.workspaces
SET fence = CASE WHEN fence = 'SUSPENDED' THEN fence ELSE %(fence)s END,
    compromised = %(fence)s = 'COMPROMISED' OR coalesce(fence = 'COMPROMISED', false)
                  OR (fence IS NOT NULL AND compromised)
WHERE workspace_id = %(workspace_id)s
"""
_RETIRE: Final = """
UPDATE registry.workspaces SET retire_time = %(now)s
WHERE workspace_id = %(workspace_id)s AND retire_time IS NULL
RETURNING workspace_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A workspace, and the database's clock when it was read, or locked."""

    workspace: Workspace
    now: datetime


def read(tx: Connection, workspace_id: WorkspaceId) -> Known | None:
    """The workspace, without a lock; None when the id is unknown."""
    return _known(tx, _READ, workspace_id)


def lock(tx: Connection, workspace_id: WorkspaceId) -> Known | None:
    """Lock the row: until the transaction ends nobody else decides anything about the workspace."""
    return _known(tx, _LOCK, workspace_id)


def lock_present(tx: Connection, workspace_id: WorkspaceId) -> Known:
    """The same as `lock` for a workspace that must exist, as none is ever deleted. LookupError."""
    known = lock(tx, workspace_id)
    if known is None:
        raise LookupError(f"workspace {workspace_id} is gone")
    return known


def lock_all(
    tx: Connection, workspace_ids: Sequence[WorkspaceId], *, patient: bool = True
) -> frozenset[WorkspaceId]:
    """Lock these; returns those that are locked now. If not `patient`, workspaces that another
    transaction holds are left out.
    """
    statement = _LOCK_ALL if patient else _LOCK_FREE
    rows = tx.exec_driver_sql(statement, {"workspace_ids": list(workspace_ids)})
    return frozenset(WorkspaceId(str(row.workspace_id)) for row in rows)


def insert(
    tx: Connection,
    workspace_id: WorkspaceId,
    tenant_id: TenantId,
    *,
    ticket_required: bool = False,
    evidence_required: bool = False,
    retired: bool = False,
) -> Known | None:
    """Store a new workspace with its registration; the row counts as locked. None when the id is
    known already.
    """
    parameters = {
        "workspace_id": workspace_id,
        "tenant_id": tenant_id,
        "ticket_required": ticket_required,
        "evidence_required": evidence_required,
        "retired": retired,
    }
    return _known(tx, _INSERT, workspace_id, parameters)


def require(tx: Connection, workspace_id: WorkspaceId, *, ticket: bool, evidence: bool) -> None:
    """Require these from now on; what was required before stays required."""
    parameters = {"workspace_id": workspace_id, "ticket": ticket, "evidence": evidence}
    tx.exec_driver_sql(_REQUIRE, parameters)


def launch(tx: Connection, workspace_id: WorkspaceId, now: datetime, *, minimum: int = 0) -> int:
    """Begin an incarnation above the newest one and `minimum`, and lift every fence. Returns its
    number.

    After a restore `LEFT_OUT` numbers are skipped, even if the launcher sends a `minimum`, because
    its own memory may have been restored, too.
    """
    parameters = {
        "workspace_id": workspace_id,
        "now": now,
        "minimum": minimum,
        "left_out": LEFT_OUT,
    }
    number: int = tx.exec_driver_sql(_LAUNCH, parameters).scalar_one()
    return number


def count_on(tx: Connection, workspace_id: WorkspaceId, number: int) -> None:
    """Raise the incarnation to `number`, for launches that a restored backup does not know of.
    Lifts every fence, as those launches did.
    """
    tx.exec_driver_sql(_COUNT_ON, {"workspace_id": workspace_id, "number": number})


def note_admitted(tx: Connection, workspace_id: WorkspaceId, incarnation: int) -> None:
    """Note that a box of this incarnation was let in, so that its workspace is no longer left."""
    parameters = {"workspace_id": workspace_id, "incarnation": incarnation}
    tx.exec_driver_sql(_ADMITTED, parameters)


def note_left(tx: Connection, workspace_id: WorkspaceId) -> None:
    tx.exec_driver_sql(_LEFT, {"workspace_id": workspace_id})


def set_fence(tx: Connection, workspace_id: WorkspaceId, fence: Fence) -> None:
    """Set this fence; the other one stays, if it stands."""
    parameters = {"workspace_id": workspace_id, "fence": fence.value}
    tx.exec_driver_sql(_FENCE, parameters)


def retire(tx: Connection, workspace_id: WorkspaceId, now: datetime) -> bool:
    """Retire the workspace. False when it was retired before."""
    parameters = {"workspace_id": workspace_id, "now": now}
    return tx.exec_driver_sql(_RETIRE, parameters).one_or_none() is not None


def of_row(workspace_id: WorkspaceId, row: Any, *, incarnation: int) -> Workspace:
    """The workspace of a row with `tenant_id` and the columns of DECIDING. `incarnation` is its
    newest.
    """
    suspended = row.fence == Fence.SUSPENDED
    return Workspace(
        workspace_id=workspace_id,
        tenant_id=TenantId(row.tenant_id),
        incarnation=incarnation,
        registered_incarnation=row.registered_incarnation,
        ticket_required=row.ticket_required,
        evidence_required=row.evidence_required,
        suspended=suspended,
        compromised=row.fence is not None and (row.compromised or not suspended),
        left=row.box_left,
        retired=row.retire_time is not None,
    )


def known_of(row: Any) -> Known:
    """The workspace of a whole row, with the clock that was read as `now`."""
    workspace_id = WorkspaceId(str(row.workspace_id))
    return Known(workspace=of_row(workspace_id, row, incarnation=row.incarnation), now=row.now)


def _known(
    tx: Connection,
    statement: str,
    workspace_id: WorkspaceId,
    parameters: dict[str, object] | None = None,
) -> Known | None:
    asked = parameters or {"workspace_id": workspace_id}
    row = tx.exec_driver_sql(statement, asked).one_or_none()
    return None if row is None else known_of(row)
