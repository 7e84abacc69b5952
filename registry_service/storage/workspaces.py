"""The workspace's row: what every decision locks first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from agentworkspace.core.ids import TenantId, WorkspaceId
from registry_service.domain.standing import Fence, Workspace

_READ: Final = """
SELECT *, clock_timestamp() AS now FROM registry.workspaces WHERE workspace_id = %(workspace_id)s
"""
# The clock is read above the locked row, so after the wait for it.
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
        (workspace_id, tenant_id, create_time, ticket_required, retire_time)
    VALUES (%(workspace_id)s, %(tenant_id)s, clock_timestamp(), %(ticket_required)s,
            CASE WHEN %(retired)s THEN clock_timestamp() END)
    ON CONFLICT (workspace_id) DO NOTHING
    RETURNING workspace_id
)
INSERT INTO registry.registrations (workspace_id, state)
SELECT workspace_id, CASE WHEN %(retired)s THEN 'REMOVED' ELSE 'PENDING' END FROM fresh
RETURNING workspace_id
"""
_REQUIRE_TICKET: Final = """
UPDATE registry.workspaces SET ticket_required = true
WHERE workspace_id = %(workspace_id)s AND NOT ticket_required
"""
_LAUNCH: Final = """
UPDATE registry.workspaces
SET incarnation = incarnation + 1, launch_time = %(now)s, fence = NULL
WHERE workspace_id = %(workspace_id)s
RETURNING incarnation
"""
_REGISTERED: Final = """
UPDATE registry.workspaces SET registered_incarnation = %(incarnation)s
WHERE workspace_id = %(workspace_id)s AND registered_incarnation < %(incarnation)s
"""
# A suspension outranks a compromise: it is what keeps a workspace from being launched again.
_FENCE: Final = """
UPDATE registry.workspaces SET fence = %(fence)s
WHERE workspace_id = %(workspace_id)s AND fence IS DISTINCT FROM %(fence)s
    AND fence IS DISTINCT FROM 'SUSPENDED'
RETURNING workspace_id
"""
_RETIRE: Final = """
UPDATE registry.workspaces SET retire_time = %(now)s
WHERE workspace_id = %(workspace_id)s AND retire_time IS NULL
RETURNING workspace_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A workspace, and the database's clock when it was read (under the lock, if it was)."""

    workspace: Workspace
    now: datetime


def read(connection: Connection, workspace_id: WorkspaceId) -> Known | None:
    return _known(connection, _READ, workspace_id)


def lock(connection: Connection, workspace_id: WorkspaceId) -> Known | None:
    """Until the transaction ends nobody else decides anything about this workspace."""
    return _known(connection, _LOCK, workspace_id)


def lock_present(connection: Connection, workspace_id: WorkspaceId) -> Known:
    """As `lock`, of one that is certain to be there: workspaces are never deleted."""
    known = lock(connection, workspace_id)
    if known is None:
        raise LookupError(f"workspace {workspace_id} is gone")
    return known


def lock_all(
    connection: Connection, workspace_ids: Sequence[WorkspaceId], *, patient: bool = True
) -> frozenset[WorkspaceId]:
    """Those locked: all, unless without patience for those another transaction holds."""
    statement = _LOCK_ALL if patient else _LOCK_FREE
    rows = connection.exec_driver_sql(statement, {"workspace_ids": list(workspace_ids)})
    return frozenset(WorkspaceId(str(row.workspace_id)) for row in rows)


def insert(
    connection: Connection,
    workspace_id: WorkspaceId,
    tenant_id: TenantId,
    *,
    ticket_required: bool = False,
    retired: bool = False,
) -> bool:
    """With its registration. False when it was known."""
    parameters = {
        "workspace_id": workspace_id,
        "tenant_id": tenant_id,
        "ticket_required": ticket_required,
        "retired": retired,
    }
    return connection.exec_driver_sql(_INSERT, parameters).one_or_none() is not None


def require_ticket(connection: Connection, workspace_id: WorkspaceId) -> None:
    connection.exec_driver_sql(_REQUIRE_TICKET, {"workspace_id": workspace_id})


def launch(connection: Connection, workspace_id: WorkspaceId, now: datetime) -> int:
    """Count the incarnation up, lift any fence; the new number."""
    parameters = {"workspace_id": workspace_id, "now": now}
    number: int = connection.exec_driver_sql(_LAUNCH, parameters).scalar_one()
    return number


def note_registered(connection: Connection, workspace_id: WorkspaceId, incarnation: int) -> None:
    parameters = {"workspace_id": workspace_id, "incarnation": incarnation}
    connection.exec_driver_sql(_REGISTERED, parameters)


def set_fence(connection: Connection, workspace_id: WorkspaceId, fence: Fence) -> bool:
    """Whether that changed anything."""
    parameters = {"workspace_id": workspace_id, "fence": fence.value}
    return connection.exec_driver_sql(_FENCE, parameters).one_or_none() is not None


def retire(connection: Connection, workspace_id: WorkspaceId, now: datetime) -> bool:
    """False when it was retired before."""
    parameters = {"workspace_id": workspace_id, "now": now}
    return connection.exec_driver_sql(_RETIRE, parameters).one_or_none() is not None


def _known(connection: Connection, statement: str, workspace_id: WorkspaceId) -> Known | None:
    row = connection.exec_driver_sql(statement, {"workspace_id": workspace_id}).one_or_none()
    if row is None:
        return None
    workspace = Workspace(
        workspace_id=workspace_id,
        tenant_id=TenantId(row.tenant_id),
        incarnation=row.incarnation,
        registered_incarnation=row.registered_incarnation,
        ticket_required=row.ticket_required,
        fence=Fence(row.fence) if row.fence else None,
        retired=row.retire_time is not None,
    )
    return Known(workspace=workspace, now=row.now)
