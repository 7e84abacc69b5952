"""Reading the audit back; `agentworkspace.service.audit` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from agentworkspace.core.audit import AuditEvent

_PAGE: Final = """
SELECT * FROM registry.audit_events
WHERE (%(tenants)s::text[] IS NULL OR tenant_id = ANY(%(tenants)s::text[]))
    AND (%(workspace_id)s::uuid IS NULL OR workspace_id = %(workspace_id)s::uuid)
    AND (%(action)s::text IS NULL OR action = %(action)s::text)
    AND (%(before_time)s::timestamptz IS NULL
         OR (time, event_id) < (%(before_time)s::timestamptz, %(before_id)s::uuid))
ORDER BY time DESC, event_id DESC LIMIT %(limit)s
"""


def page(
    tx: Connection,
    *,
    tenants: Sequence[str] | None,
    workspace_id: str | None,
    action: str | None,
    before: tuple[str, str] | None,
    limit: int,
) -> list[AuditEvent]:
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
        AuditEvent(
            event_id=str(row.event_id),
            time=row.time,
            actor=row.actor,
            method=row.method,
            action=row.action,
            tenant_id=row.tenant_id,
            workspace_id=str(row.workspace_id or ""),
            subject=row.subject,
            details=row.details,
            correlation_id=row.correlation_id,
        )
        for row in tx.exec_driver_sql(_PAGE, parameters)
    ]
