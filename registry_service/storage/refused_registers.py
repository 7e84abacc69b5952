"""Refused registers, counted in memory and written behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from agentworkspace.core.ids import TokenId, WorkspaceId
from registry_service.domain.relaunch import REFUSED_GAP

_COUNT_REFUSED: Final = """
UPDATE registry.registrations r
SET rejected_count = r.rejected_count + CASE WHEN news.counts THEN box.count ELSE 0 END,
    rejected_last_time = CASE WHEN news.counts THEN box.last_time ELSE r.rejected_last_time END,
    rejected_last_reason =
        CASE WHEN news.counts THEN box.last_reason ELSE r.rejected_last_reason END,
    failure_reason = CASE WHEN news.fails THEN box.failure_reason ELSE r.failure_reason END,
    failure_incarnation =
        CASE WHEN news.fails THEN box.failure_incarnation ELSE r.failure_incarnation END,
    failure_time = CASE WHEN news.fails THEN box.failure_time ELSE r.failure_time END,
    refused_ticket = CASE WHEN news.refused THEN box.refused_ticket ELSE r.refused_ticket END,
    refused_last = CASE WHEN news.refused THEN box.refused_last ELSE r.refused_last END,
    refused_since = CASE WHEN news.refused AND NOT news.goes_on
                         THEN greatest(box.refused_first, r.refused_last)
                         ELSE r.refused_since END,
    changed = CASE WHEN news.refused AND NOT news.goes_on
                   THEN pg_current_xact_id()::text::bigint ELSE r.changed END
FROM (
    SELECT workspace_id, register_time, failure_time, refused_ticket, refused_since, refused_last
    FROM registry.registrations
    WHERE workspace_id = ANY(%(workspace_ids)s::uuid[])
    ORDER BY workspace_id FOR UPDATE SKIP LOCKED
) locked
JOIN unnest(%(workspace_ids)s::uuid[], %(counts)s::bigint[], %(last_times)s::timestamptz[],
            %(last_reasons)s::text[], %(failure_reasons)s::text[],
            %(failure_times)s::timestamptz[], %(failure_incarnations)s::bigint[],
            %(refused_tickets)s::uuid[], %(refused_firsts)s::timestamptz[],
            %(refused_lasts)s::timestamptz[])
    AS box (workspace_id, count, last_time, last_reason, failure_reason, failure_time,
            failure_incarnation, refused_ticket, refused_first, refused_last)
    USING (workspace_id),
LATERAL (
    -- A count ends with the next admission; a failure is replaced only by a newer one.
    SELECT box.last_time > coalesce(locked.register_time, '-infinity') AS counts,
           box.failure_time > coalesce(locked.failure_time, '-infinity') AS fails,
           coalesce(box.refused_last > coalesce(locked.refused_last, '-infinity'), false)
               AS refused,
           -- Of the same ticket, not admitted since, and without a pause.
           coalesce(locked.refused_ticket = box.refused_ticket
                    AND locked.refused_since IS NOT NULL
                    AND box.refused_first - locked.refused_last <= %(gap)s::interval, false)
               AS goes_on
) news
WHERE r.workspace_id = locked.workspace_id
RETURNING r.workspace_id
"""
_KNOWN: Final = """
SELECT workspace_id FROM registry.registrations
WHERE workspace_id = ANY(%(workspace_ids)s::uuid[])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalCount:
    workspace_id: WorkspaceId
    count: int
    last_time: datetime
    last_reason: str
    failure_reason: str | None
    failure_time: datetime | None
    failure_incarnation: int | None
    # Of the holder of this ticket, the newest: when it was told RELAUNCH first and last.
    refused_ticket: TokenId | None = None
    refused_first: datetime | None = None
    refused_last: datetime | None = None


def count_refused(tx: Connection, counts: Sequence[RefusalCount]) -> frozenset[WorkspaceId]:
    """Count on, and return those another transaction holds; pass at most one a workspace."""
    ids = [item.workspace_id for item in counts]
    parameters = {
        "workspace_ids": ids,
        "counts": [item.count for item in counts],
        "last_times": [item.last_time for item in counts],
        "last_reasons": [item.last_reason for item in counts],
        "failure_reasons": [item.failure_reason for item in counts],
        "failure_times": [item.failure_time for item in counts],
        "failure_incarnations": [item.failure_incarnation for item in counts],
        "refused_tickets": [item.refused_ticket for item in counts],
        "refused_firsts": [item.refused_first for item in counts],
        "refused_lasts": [item.refused_last for item in counts],
        "gap": REFUSED_GAP,
    }
    written = _ids(tx.exec_driver_sql(_COUNT_REFUSED, parameters))
    if len(written) == len(ids):
        return frozenset()
    return _ids(tx.exec_driver_sql(_KNOWN, {"workspace_ids": ids})) - written


def _ids(rows: Iterable[Any]) -> frozenset[WorkspaceId]:
    return frozenset(WorkspaceId(str(row.workspace_id)) for row in rows)
