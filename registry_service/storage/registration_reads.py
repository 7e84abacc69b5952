"""How workspaces stand, as watchers read it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from agentworkspace.core.ids import WorkspaceId

_COLUMNS: Final = """
SELECT w.workspace_id, w.tenant_id, w.create_time, w.incarnation, w.registered_incarnation,
       w.launch_time, w.ticket_required, w.fence, r.state, r.healthy_incarnation, r.url,
       r.delivery_mode, r.agent_card, r.runtime, r.runtime_version, r.register_time,
       r.last_heartbeat_time, r.active_tasks, r.sample_error, r.deregistered, r.rejected_count,
       r.rejected_last_time, r.rejected_last_reason, r.failure_reason, r.failure_time,
       r.failure_incarnation
FROM registry.workspaces w JOIN registry.registrations r USING (workspace_id)
"""
_ONE: Final = _COLUMNS + "WHERE w.workspace_id = %(workspace_id)s"
# Narrower than everything, wider than the answer: `domain.liveness` has the last word.
_PAGE: Final = (
    _COLUMNS
    + """
WHERE (%(tenants)s::text[] IS NULL OR w.tenant_id = ANY(%(tenants)s::text[]))
    AND (%(workspace_ids)s::uuid[] IS NULL OR w.workspace_id = ANY(%(workspace_ids)s::uuid[]))
    AND (%(states)s::text[] IS NULL OR r.state = ANY(%(states)s::text[]))
    AND (%(silent_before)s::timestamptz IS NULL
         OR (r.last_heartbeat_time < %(silent_before)s::timestamptz AND NOT r.deregistered))
    AND (%(before_time)s::timestamptz IS NULL
         OR (w.create_time, w.workspace_id) < (%(before_time)s::timestamptz, %(before_id)s::uuid))
ORDER BY w.create_time DESC, w.workspace_id DESC LIMIT %(limit)s
"""
)


def one(connection: Connection, workspace_id: WorkspaceId) -> Any:
    """A row of registration and workspace together, of a workspace that is known to be there."""
    return connection.exec_driver_sql(_ONE, {"workspace_id": workspace_id}).one()


def page(
    connection: Connection,
    *,
    tenants: Sequence[str] | None,
    workspace_ids: Sequence[WorkspaceId] | None,
    states: Sequence[str] | None,
    silent_before: datetime | None,
    before: tuple[str, str] | None,
    limit: int,
) -> Sequence[Any]:
    """Rows as those of `one`, newest first; None does not filter."""
    before_time, before_id = before or (None, None)
    parameters = {
        "tenants": None if tenants is None else list(tenants),
        "workspace_ids": None if workspace_ids is None else list(workspace_ids),
        "states": None if states is None else list(states),
        "silent_before": silent_before,
        "before_time": before_time,
        "before_id": before_id,
        "limit": limit,
    }
    return connection.exec_driver_sql(_PAGE, parameters).all()
