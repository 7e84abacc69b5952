"""Writes how often Registers were refused, as it was counted in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from agentworkspace.core.ids import TokenId, WorkspaceId
from agentworkspace.service.prepared import arrays_of
from registry_service.domain.relaunch import REFUSED_GAP

_COUNT_REFUSED: Final = """
UPDATE registry.registrations r
SET rejected_count = r.rejected_count + CASE WHEN news.counts THEN box.counted ELSE 0 END,
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
    WHERE workspace_id = ANY(%(workspace_id)s::uuid[])
    ORDER BY workspace_id FOR UPDATE SKIP LOCKED
) locked
JOIN unnest(%(workspace_id)s::uuid[], %(counted)s::bigint[], %(last_time)s::timestamptz[],
            %(last_reason)s::text[], %(failure_reason)s::text[],
            %(failure_time)s::timestamptz[], %(failure_incarnation)s::bigint[],
            %(refused_ticket)s::uuid[], %(refused_first)s::timestamptz[],
            %(refused_last)s::timestamptz[])
    AS box (workspace_id, counted, last_time, last_reason, failure_reason, failure_time,
            failure_incarnation, refused_ticket, refused_first, refused_last)
    USING (workspace_id),
LATERAL (
    -- A count ends with the next admission; a failure is replaced only by a newer one.
    SELECT box.last_time > coalesce(locked.register_time, '-infinity') AS counts,
           box.failure_time > coalesce(locked.failure_time, '-infinity') AS fails,
           coalesce(box.refused_last > coalesce(locked.refused_last, '-infinity'), false)
               AS refused,
           -- The same ticket was refused before, not admitted since, and made no long pause.
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
WHERE workspace_id = ANY(%(workspace_id)s::uuid[])
"""


class RefusalCount(NamedTuple):
    workspace_id: WorkspaceId
    counted: int
    last_time: datetime
    last_reason: str
    failure_reason: str | None
    failure_time: datetime | None
    failure_incarnation: int | None
    # The newest ticket, and when its holder was first and last told RELAUNCH.
    refused_ticket: TokenId | None = None
    refused_first: datetime | None = None
    refused_last: datetime | None = None


def count_refused(tx: Connection, counts: Sequence[RefusalCount]) -> frozenset[WorkspaceId]:
    """Count on, and return those another transaction holds; pass at most one a workspace."""
    parameters = {**arrays_of(counts), "gap": REFUSED_GAP}
    written = _ids(tx.exec_driver_sql(_COUNT_REFUSED, parameters))
    if len(written) == len(counts):
        return frozenset()
    return _ids(tx.exec_driver_sql(_KNOWN, parameters)) - written


def _ids(rows: Iterable[Any]) -> frozenset[WorkspaceId]:
    return frozenset(WorkspaceId(str(row.workspace_id)) for row in rows)
