"""Writes what boxes report (Register, Heartbeat, Deregister), and who fell silent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from agentworkspace.core.ids import TenantId, WorkspaceId
from agentworkspace.service.prepared import Prepared, array, arrays_of

# `changed` is set where something changes that a watcher wants to know; see its column. In a batch
# these statements skip rows that another transaction holds, that a newer incarnation wrote or whose
# box has deregistered; each of these is looked at again by itself, and then written as `alone`.
_REGISTER: Final = Prepared(
    "arrive",
    """
UPDATE registry.registrations r
SET state = 'ONLINE', incarnation = box.incarnation, deregistered = false,
    register_time = clock_timestamp(), last_heartbeat_time = clock_timestamp(),
    active_tasks = 0, sample_error = '',
    url = coalesce(nullif(box.url, ''), r.url),
    delivery_mode = coalesce(nullif(box.delivery_mode, ''), r.delivery_mode),
    agent_card = coalesce(box.agent_card, r.agent_card),
    runtime = coalesce(nullif(box.runtime, ''), r.runtime),
    runtime_version = coalesce(nullif(box.runtime_version, ''), r.runtime_version),
    rejected_count = 0, rejected_last_time = NULL, rejected_last_reason = NULL,
    -- A box that was let in by this ticket ends its series of refusals.
    refused_since = CASE WHEN NOT box.by_newest_ticket THEN r.refused_since END,
    refused_last = CASE WHEN box.by_newest_ticket THEN clock_timestamp() ELSE r.refused_last END,
    changed = CASE WHEN r.state <> 'ONLINE' OR r.incarnation <> box.incarnation OR r.deregistered
                        OR (box.by_newest_ticket AND r.refused_since IS NOT NULL)
                   THEN pg_current_xact_id()::text::bigint ELSE r.changed END
FROM (
    SELECT workspace_id FROM registry.registrations
    WHERE workspace_id = ANY(%(workspace_id)s::uuid[])
    ORDER BY workspace_id FOR UPDATE SKIP LOCKED
) locked
JOIN unnest(%(workspace_id)s::uuid[], %(incarnation)s::bigint[], %(url)s::text[],
            %(delivery_mode)s::text[], %(agent_card)s::jsonb[], %(runtime)s::text[],
            %(runtime_version)s::text[], %(by_newest_ticket)s::boolean[])
    AS box (workspace_id, incarnation, url, delivery_mode, agent_card, runtime, runtime_version,
            by_newest_ticket)
    USING (workspace_id)
WHERE r.workspace_id = locked.workspace_id AND r.state <> 'REMOVED'
    AND (%(alone)s::boolean OR (r.incarnation <= box.incarnation AND NOT r.deregistered))
RETURNING r.workspace_id
""",
)
_BEAT: Final = Prepared(
    "beat",
    """
UPDATE registry.registrations r
SET state = CASE WHEN box.degraded THEN 'DEGRADED' ELSE 'ONLINE' END, deregistered = false,
    changed = CASE WHEN (r.state = 'ONLINE' AND NOT box.degraded
                         AND r.healthy_incarnation >= box.incarnation)
                        OR (r.state = 'DEGRADED' AND box.degraded)
                   THEN r.changed ELSE pg_current_xact_id()::text::bigint END,
    last_heartbeat_time = clock_timestamp(), active_tasks = box.active_tasks,
    sample_error = box.sample_error,
    healthy_incarnation = CASE WHEN box.degraded THEN r.healthy_incarnation
                               ELSE greatest(r.healthy_incarnation, box.incarnation) END
FROM (
    SELECT workspace_id FROM registry.registrations
    WHERE workspace_id = ANY(%(workspace_id)s::uuid[])
    ORDER BY workspace_id FOR UPDATE SKIP LOCKED
) locked
JOIN unnest(%(workspace_id)s::uuid[], %(incarnation)s::bigint[], %(active_tasks)s::bigint[],
            %(sample_error)s::text[], %(degraded)s::boolean[])
    AS box (workspace_id, incarnation, active_tasks, sample_error, degraded)
    USING (workspace_id)
WHERE r.workspace_id = locked.workspace_id AND r.state <> 'REMOVED'
    AND (%(alone)s::boolean OR (r.incarnation <= box.incarnation AND NOT r.deregistered))
RETURNING r.workspace_id
""",
)
# Writes a time only if it is later than the stored one, and the box was not marked OFFLINE, did not
# leave and was not replaced meanwhile. Returns all rows that no other transaction held.
_HEARD: Final = Prepared(
    "heard",
    """
WITH locked AS (
    SELECT workspace_id FROM registry.registrations
    WHERE workspace_id = ANY(%(workspace_ids)s::uuid[])
    ORDER BY workspace_id FOR UPDATE SKIP LOCKED
), written AS (
    UPDATE registry.registrations r SET last_heartbeat_time = box.time
    FROM locked
    JOIN unnest(%(workspace_ids)s::uuid[], %(incarnations)s::bigint[], %(times)s::timestamptz[])
        AS box (workspace_id, incarnation, time) USING (workspace_id)
    WHERE r.workspace_id = locked.workspace_id AND r.state IN ('ONLINE', 'DEGRADED')
        AND r.incarnation <= box.incarnation AND r.last_heartbeat_time < box.time
)
SELECT workspace_id FROM locked
""",
)
_LOCK: Final = """
SELECT 1 FROM registry.registrations WHERE workspace_id = %(workspace_id)s FOR UPDATE
"""
_UPDATE_CARD: Final = """
UPDATE registry.registrations
SET agent_card = coalesce(%(agent_card)s::jsonb, agent_card),
    url = coalesce(nullif(%(url)s::text, ''), url)
WHERE workspace_id = %(workspace_id)s
"""
_LEAVE: Final = """
UPDATE registry.registrations
SET state = 'OFFLINE', deregistered = true, active_tasks = 0,
    changed = pg_current_xact_id()::text::bigint
WHERE workspace_id = %(workspace_id)s
"""
_REMOVE: Final = """
UPDATE registry.registrations SET state = 'REMOVED', changed = pg_current_xact_id()::text::bigint
WHERE workspace_id = %(workspace_id)s
"""
_CHANGE: Final = """
UPDATE registry.registrations SET changed = pg_current_xact_id()::text::bigint
WHERE workspace_id = %(workspace_id)s
"""
# Reads the whole table: no index may cover what every heartbeat writes. Those that have been
# silent for longest come first, or many that are only late would hide them.
_LATE: Final = """
SELECT workspace_id FROM registry.registrations
WHERE state IN ('ONLINE', 'DEGRADED') AND last_heartbeat_time < %(before)s
ORDER BY last_heartbeat_time LIMIT %(limit)s
"""
# Only one transaction marks a box, because the condition is checked again once its row is locked.
# Rows may be locked in any order, because locked ones are skipped and never waited for.
_MARK_OFFLINE: Final = """
UPDATE registry.registrations r SET state = 'OFFLINE', changed = pg_current_xact_id()::text::bigint
FROM (
    SELECT workspace_id FROM registry.registrations
    WHERE workspace_id = ANY(%(among)s::uuid[])
        AND state IN ('ONLINE', 'DEGRADED') AND last_heartbeat_time < %(before)s
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) silent
JOIN registry.workspaces w USING (workspace_id)
WHERE r.workspace_id = silent.workspace_id
RETURNING r.workspace_id, w.tenant_id, w.incarnation, r.last_heartbeat_time
"""


# An agent card as parsed from a request: plain JSON.
Card = Mapping[str, object]


class Arrival(NamedTuple):
    """A box that was let in. Empty or None keeps what was known."""

    workspace_id: WorkspaceId
    incarnation: int
    url: str
    delivery_mode: str
    agent_card: Card | None
    runtime: str
    runtime_version: str
    # Whether the ticket of the newest launch was shown.
    by_newest_ticket: bool = False


class Beat(NamedTuple):
    workspace_id: WorkspaceId
    incarnation: int
    active_tasks: int
    sample_error: str
    degraded: bool


class Heard(NamedTuple):
    """When a box of `incarnation` reported, by the database's clock. A later one is greater."""

    time: datetime
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    workspace_id: WorkspaceId
    tenant_id: TenantId
    incarnation: int
    last_heartbeat_time: datetime


def arrive(
    tx: Connection, arrivals: Sequence[Arrival], *, alone: bool = False
) -> frozenset[WorkspaceId]:
    """Which of them were written; pass at most one a workspace. `alone`: under a lock."""
    cards = array(_json(arrival.agent_card) for arrival in arrivals)
    parameters = {**arrays_of(arrivals), "agent_card": cards, "alone": alone}
    return _ids(_REGISTER.run(tx, parameters))


def beat(tx: Connection, beats: Sequence[Beat], *, alone: bool = False) -> frozenset[WorkspaceId]:
    """Which of them were written; pass at most one a workspace. `alone`: under a lock."""
    return _ids(_BEAT.run(tx, {**arrays_of(beats), "alone": alone}))


def note_heard(tx: Connection, heard: Mapping[WorkspaceId, Heard]) -> frozenset[WorkspaceId]:
    """Write when boxes reported that had nothing new to say. Returns the workspaces that are done;
    another transaction holds the rows of the others.
    """
    parameters = {
        "workspace_ids": array(heard),
        "incarnations": array(each.incarnation for each in heard.values()),
        "times": array(each.time for each in heard.values()),
    }
    return _ids(_HEARD.run(tx, parameters))


def lock(tx: Connection, workspace_id: WorkspaceId) -> None:
    """Lock the row, and wait for it, so that `arrive` and `beat` do not skip it."""
    tx.exec_driver_sql(_LOCK, {"workspace_id": workspace_id})


def update_card(
    tx: Connection, workspace_id: WorkspaceId, *, agent_card: Card | None, url: str
) -> None:
    """Store card and url; None and an empty url keep what is stored."""
    parameters = {"workspace_id": workspace_id, "agent_card": _json(agent_card), "url": url}
    tx.exec_driver_sql(_UPDATE_CARD, parameters)


def leave(tx: Connection, workspace_id: WorkspaceId) -> None:
    """Mark the box OFFLINE because it deregistered."""
    tx.exec_driver_sql(_LEAVE, {"workspace_id": workspace_id})


def remove(tx: Connection, workspace_id: WorkspaceId) -> None:
    tx.exec_driver_sql(_REMOVE, {"workspace_id": workspace_id})


def note_change(tx: Connection, workspace_id: WorkspaceId) -> None:
    """Mark the workspace as changed, for watchers."""
    tx.exec_driver_sql(_CHANGE, {"workspace_id": workspace_id})


def late(tx: Connection, *, before: datetime, limit: int) -> frozenset[WorkspaceId]:
    """Boxes that count as up, but reported last before this time; at most `limit`."""
    return _ids(tx.exec_driver_sql(_LATE, {"before": before, "limit": limit}))


def mark_offline(
    tx: Connection, *, among: Iterable[WorkspaceId], before: datetime, limit: int
) -> list[Silence]:
    """Mark those OFFLINE that count as up, but reported last before this time. Returns the ones
    that this transaction, and no other, marked; at most `limit`.
    """
    parameters = {"among": array(among), "before": before, "limit": limit}
    return [
        Silence(
            workspace_id=WorkspaceId(str(row.workspace_id)),
            tenant_id=TenantId(row.tenant_id),
            incarnation=row.incarnation,
            last_heartbeat_time=row.last_heartbeat_time,
        )
        for row in tx.exec_driver_sql(_MARK_OFFLINE, parameters)
    ]


def _ids(rows: Iterable[Any]) -> frozenset[WorkspaceId]:
    return frozenset(WorkspaceId(str(row.workspace_id)) for row in rows)


def _json(card: Card | None) -> str | None:
    return None if card is None else json.dumps(card)
