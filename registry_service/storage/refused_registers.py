"""Refused registers, counted in memory and written behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from agentworkspace.core.ids import WorkspaceId

_COUNT_REFUSED: Final = """
UPDATE registry.registrations r
SET rejected_count = r.rejected_count + CASE WHEN news.counts THEN box.count ELSE 0 END,
    rejected_last_time = CASE WHEN news.counts THEN box.last_time ELSE r.rejected_last_time END,
    rejected_last_reason =
        CASE WHEN news.counts THEN box.last_reason ELSE r.rejected_last_reason END,
    failure_reason = CASE WHEN news.fails THEN box.failure_reason ELSE r.failure_reason END,
    failure_incarnation =
        CASE WHEN news.fails THEN box.failure_incarnation ELSE r.failure_incarnation END,
    failure_time = CASE WHEN news.fails THEN box.failure_time ELSE r.failure_time END
FROM (
    SELECT workspace_id, register_time, failure_time FROM registry.registrations
    WHERE workspace_id = ANY(%(workspace_ids)s::uuid[])
    ORDER BY workspace_id FOR UPDATE SKIP LOCKED
) locked
JOIN unnest(%(workspace_ids)s::uuid[], %(counts)s::bigint[], %(last_times)s::timestamptz[],
            %(last_reasons)s::text[], %(failure_reasons)s::text[],
            %(failure_times)s::timestamptz[], %(failure_incarnations)s::bigint[])
    AS box (workspace_id, count, last_time, last_reason, failure_reason, failure_time,
            failure_incarnation)
    USING (workspace_id),
LATERAL (
    -- A count ends with the next admission; a failure is replaced only by a newer one.
    SELECT box.last_time > coalesce(locked.register_time, '-infinity') AS counts,
           box.failure_time > coalesce(locked.failure_time, '-infinity') AS fails
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


def count_refused(connection: Connection, counts: Sequence[RefusalCount]) -> frozenset[WorkspaceId]:
    """Those another transaction holds; at most one a workspace may be passed."""
    ids = [item.workspace_id for item in counts]
    parameters = {
        "workspace_ids": ids,
        "counts": [item.count for item in counts],
        "last_times": [item.last_time for item in counts],
        "last_reasons": [item.last_reason for item in counts],
        "failure_reasons": [item.failure_reason for item in counts],
        "failure_times": [item.failure_time for item in counts],
        "failure_incarnations": [item.failure_incarnation for item in counts],
    }
    written = _ids(connection.exec_driver_sql(_COUNT_REFUSED, parameters))
    if len(written) == len(ids):
        return frozenset()
    return _ids(connection.exec_driver_sql(_KNOWN, {"workspace_ids": ids})) - written


def _ids(rows: Iterable[Any]) -> frozenset[WorkspaceId]:
    return frozenset(WorkspaceId(str(row.workspace_id)) for row in rows)
