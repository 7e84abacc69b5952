"""The audit trail: inserted in the transaction of the change, never changed."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from provision_service.domain.records import AuditEvent
from provision_service.storage.models_internal import AuditEventRow

_A = AuditEventRow
_ADD = insert(AuditEventRow).inline()


def add(
    tx: Connection,
    *,
    actor: str,
    method: str,
    correlation_id: str,
    action: str,
    tenant_id: str,
    workspace_id: str | None = None,
    subject: str = "",
    details: Mapping[str, str] | None = None,
) -> None:
    """Write one event."""
    event = {
        "actor": actor,
        "method": method,
        "correlation_id": correlation_id,
        "action": action,
        "tenant_id": tenant_id,
        "workspace_id": workspace_id,
        "subject": subject,
        "details": dict(details or {}),
    }
    tx.execute(_ADD, event)


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
