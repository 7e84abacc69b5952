"""How workspaces stand, as watchers read it."""

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
# With how long the registry could hear their boxes: a look at one is one statement.
_MANY: Final = (
    _COLUMNS.replace("SELECT", "SELECT uptime.now, uptime.up_since,", 1)
    + "CROSS JOIN ("
    + pulse.UPTIME
    + ") AS uptime WHERE w.workspace_id = ANY(%(workspace_ids)s::uuid[])"
)
# Narrower than everything, wider than the answer: `domain.liveness` has the last word.
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
# In order of change. Read after `revision`, so that the next look begins where this one ends.
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
# Whatever began before this had ended when it was read: its changes can be seen.
_REVISION: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


def many(tx: Transaction, workspace_ids: Sequence[WorkspaceId]) -> list[tuple[Any, pulse.Uptime]]:
    """A row of registration and workspace together for each of these that is known, in no order;
    and since when the registry could hear its box.
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
    """Rows as those of `many`, newest first; None does not filter.

    `silent_before` leaves out whoever surely needs no launch, without a look at a ticket: a hundred
    thousand healthy boxes cost one look at their own rows.
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
    """Rows as those of `many`, of what changed since, in order; from behind (change, id) on."""
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
    """What to ask for the changes after; to be read before the changes themselves are."""
    number: int = tx.exec_driver_sql(_REVISION).scalar_one()
    return number
