"""Reads workspaces with their registrations, for Get, List and Diagnose."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from agentworkspace.core.ids import WorkspaceId
from registry_service.storage import pulse
from registry_service.storage.store import Transaction

_COLUMNS: Final = """
SELECT w.workspace_id, w.tenant_id, w.create_time, w.incarnation, w.registered_incarnation,
       w.launch_time, w.ticket_required, w.evidence_required, w.fence, w.compromised, w.box_left,
       w.retire_time, w.restore_time, r.state, r.healthy_incarnation, r.url,
       r.delivery_mode, r.agent_card, r.runtime, r.runtime_version, r.register_time,
       r.last_heartbeat_time, r.active_tasks, r.sample_error, r.deregistered, r.rejected_count,
       r.rejected_last_time, r.rejected_last_reason, r.failure_reason, r.failure_time,
       r.failure_incarnation, r.changed, r.refused_since, r.refused_last,
       r.refused_ticket = ticket.token_id AS newest_refused, ticket.token_id AS ticket_id,
       ticket.expire_time AS ticket_expire_time, ticket.first_use_time AS ticket_redeem_time,
       ticket.revoke_time AS ticket_void_time
FROM registry.workspaces w JOIN registry.registrations r USING (workspace_id)
LEFT JOIN LATERAL (
    SELECT t.token_id, t.expire_time, t.first_use_time, t.revoke_time FROM registry.tokens t
    WHERE t.workspace_id = w.workspace_id AND t.kind = 'TICKET' AND t.incarnation = w.incarnation
    ORDER BY t.create_time DESC, t.token_id DESC LIMIT 1
) ticket ON true
"""
# Reads the uptime in the same statement, so that looking at a workspace takes only one.
_MANY: Final = (
    _COLUMNS.replace("SELECT", "SELECT uptime.now, uptime.up_since,", 1)
    + "CROSS JOIN ("
    + pulse.UPTIME
    + ") AS uptime WHERE w.workspace_id = ANY(%(workspace_ids)s::uuid[])"
)
# Finds some rows too many; the rules in `domain.liveness` and `domain.relaunch` decide finally.
_PAGE: Final = (
    _COLUMNS
    + """
WHERE (%(tenants)s::text[] IS NULL OR w.tenant_id = ANY(%(tenants)s::text[]))
    AND (%(workspace_ids)s::uuid[] IS NULL OR w.workspace_id = ANY(%(workspace_ids)s::uuid[]))
    AND (%(first_id)s::uuid IS NULL
         OR w.workspace_id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid)
    AND (%(states)s::text[] IS NULL OR r.state = ANY(%(states)s::text[]))
    AND (%(silent_before)s::timestamptz IS NULL OR r.refused_since IS NOT NULL
         OR (NOT w.box_left AND (NOT w.evidence_required OR w.ticket_required)
             AND w.fence IS DISTINCT FROM 'SUSPENDED' AND (r.state = 'OFFLINE'
                                 OR w.restore_time IS NOT NULL
                                 OR (r.state = 'PENDING' AND w.incarnation > 0)
                                 OR r.last_heartbeat_time < %(silent_before)s::timestamptz)))
    AND (%(before_time)s::timestamptz IS NULL
         OR (w.create_time, w.workspace_id) < (%(before_time)s::timestamptz, %(before_id)s::uuid))
ORDER BY w.create_time DESC, w.workspace_id DESC LIMIT %(limit)s
"""
)
# In order of change. `revision` must be read first: the next listing begins there.
_CHANGED: Final = (
    _COLUMNS
    + """
WHERE r.changed >= %(after)s
    AND (%(tenants)s::text[] IS NULL OR w.tenant_id = ANY(%(tenants)s::text[]))
    AND (r.changed, r.workspace_id) > (%(from_change)s, %(from_id)s::uuid)
ORDER BY r.changed, r.workspace_id LIMIT %(limit)s
"""
)
_NO_ID: Final = "00000000-0000-0000-0000-000000000000"
# All transactions before this one had ended when it was read, so that their changes can be seen.
_REVISION: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


def many(tx: Transaction, workspace_ids: Sequence[WorkspaceId]) -> list[tuple[Any, pulse.Uptime]]:
    """A row of registration and workspace for each of these that exists, in no order, each with the
    registry's uptime.
    """
    asked = {"workspace_ids": list(workspace_ids), "longest_gap": pulse.LONGEST_GAP}
    rows = tx.exec_driver_sql(_MANY, asked).all()
    return [(row, pulse.uptime_of(tx, row)) for row in rows]


def page(
    tx: Connection,
    *,
    tenants: Sequence[str] | None,
    workspace_ids: Sequence[WorkspaceId] | None,
    id_range: tuple[str, str] | None,
    states: Sequence[str] | None,
    silent_before: datetime | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> Sequence[Any]:
    """Rows like those of `many`, newest first; None does not filter.

    With `silent_before`, workspaces are left out that surely need no launch, because their box
    reported since. That takes no look at their tickets, and is quick for many healthy boxes.
    """
    before_time, before_id = before or (None, None)
    first_id, last_id = id_range or (None, None)
    parameters = {
        "tenants": None if tenants is None else list(tenants),
        "workspace_ids": None if workspace_ids is None else list(workspace_ids),
        "first_id": first_id,
        "last_id": last_id,
        "states": None if states is None else list(states),
        "silent_before": silent_before,
        "before_time": before_time,
        "before_id": before_id,
        "limit": limit,
    }
    return tx.exec_driver_sql(_PAGE, parameters).all()


def changed(
    tx: Connection,
    *,
    after: int,
    tenants: Sequence[str] | None,
    beyond: tuple[int, str] | None,
    limit: int,
) -> Sequence[Any]:
    """Rows like those of `many`, which changed at revision `after` or later, in order of change;
    with `beyond`, only those behind this pair of change and id.
    """
    from_change, from_id = beyond or (-1, _NO_ID)
    parameters = {
        "after": after,
        "tenants": None if tenants is None else list(tenants),
        "from_change": from_change,
        "from_id": from_id,
        "limit": limit,
    }
    return tx.exec_driver_sql(_CHANGED, parameters).all()


def revision(tx: Connection) -> int:
    """The revision from which the next listing of changes begins; read it before the changes."""
    number: int = tx.exec_driver_sql(_REVISION).scalar_one()
    return number
