"""The audit: append-only, in the transaction of the change, and never a secret."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

_APPEND: Final = """
INSERT INTO registry.audit_events
    (actor, method, action, tenant_id, workspace_id, subject, details, correlation_id)
SELECT %(actor)s, %(method)s, entry.action, entry.tenant_id, entry.workspace_id, entry.subject,
       entry.details, %(correlation_id)s
FROM unnest(%(actions)s::text[], %(tenant_ids)s::text[], %(workspace_ids)s::uuid[],
            %(subjects)s::text[], %(details)s::jsonb[])
    AS entry (action, tenant_id, workspace_id, subject, details)
"""
_PAGE: Final = """
SELECT * FROM registry.audit_events
WHERE (%(tenants)s::text[] IS NULL OR tenant_id = ANY(%(tenants)s::text[]))
    AND (%(workspace_id)s::uuid IS NULL OR workspace_id = %(workspace_id)s::uuid)
    AND (%(action)s::text IS NULL OR action = %(action)s::text)
    AND (%(before_time)s::timestamptz IS NULL
         OR (time, event_id) < (%(before_time)s::timestamptz, %(before_id)s::uuid))
ORDER BY time DESC, event_id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change. `details` holds names and numbers, never a secret."""

    action: str
    tenant_id: str
    workspace_id: str
    subject: str = ""
    details: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    event_id: str
    time: datetime
    actor: str
    method: str
    action: str
    tenant_id: str
    workspace_id: str
    subject: str
    details: Mapping[str, str]
    correlation_id: str


def append(
    connection: Connection,
    changes: Sequence[Change],
    *,
    actor: str,
    method: str,
    correlation_id: str,
) -> None:
    if not changes:
        return
    parameters = {
        "actor": actor,
        "method": method,
        "correlation_id": correlation_id,
        "actions": [change.action for change in changes],
        "tenant_ids": [change.tenant_id for change in changes],
        "workspace_ids": [change.workspace_id for change in changes],
        "subjects": [change.subject for change in changes],
        "details": [json.dumps(dict(change.details)) for change in changes],
    }
    connection.exec_driver_sql(_APPEND, parameters)


def page(
    connection: Connection,
    *,
    tenants: Sequence[str] | None,
    workspace_id: str | None,
    action: str | None,
    before: tuple[str, str] | None,
    limit: int,
) -> list[Event]:
    """Newest first; `tenants` None: of all."""
    before_time, before_id = before or (None, None)
    parameters = {
        "tenants": None if tenants is None else list(tenants),
        "workspace_id": workspace_id,
        "action": action,
        "before_time": before_time,
        "before_id": before_id,
        "limit": limit,
    }
    return [
        Event(
            event_id=str(row.event_id),
            time=row.time,
            actor=row.actor,
            method=row.method,
            action=row.action,
            tenant_id=row.tenant_id,
            workspace_id=str(row.workspace_id),
            subject=row.subject,
            details=row.details,
            correlation_id=row.correlation_id,
        )
        for row in connection.exec_driver_sql(_PAGE, parameters)
    ]
