"""Reading the audit back; `agentworkspace.service.audit` writes it."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from agentworkspace.core.audit import AuditEvent
from provision_service.storage.models_internal import AuditEventRow

_A = AuditEventRow


def page(
    tx: Connection,
    *,
    tenants: frozenset[str] | None,
    workspace_id: str,
    action: str,
    before: int | None,
    limit: int,
) -> list[tuple[int, AuditEvent]]:
    """Events with their number, newest first, before a number."""
    query = select(_A.__table__)
    if tenants is not None:
        query = query.where(_A.tenant_id == func.any(sorted(tenants)))
    if workspace_id:
        query = query.where(_A.workspace_id == workspace_id)
    if action:
        query = query.where(_A.action == action)
    if before is not None:
        query = query.where(_A.seq < before)
    rows = tx.execute(query.order_by(_A.seq.desc()).limit(limit))
    return [
        (
            row.seq,
            AuditEvent(
                event_id=row.event_id,
                time=row.create_time,
                actor=row.actor,
                method=row.method,
                action=row.action,
                tenant_id=row.tenant_id,
                workspace_id=row.workspace_id or "",
                subject=row.subject,
                details=row.details,
                correlation_id=row.correlation_id,
            ),
        )
        for row in rows
    ]
