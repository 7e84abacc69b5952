"""ListAuditEvents: who changed what, newest first."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.audit import AuditEvent
from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import TenantId, WorkspaceId
from registry_service.commands import paging
from registry_service.commands.list_registrations import listed_tenants
from registry_service.storage import audit
from registry_service.storage.store import Store

__all__ = ["AuditEvent", "AuditPage", "ListAuditEvents", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAuditEvents:
    """None: not filtered by it."""

    caller: Caller
    tenant_id: TenantId | None = None
    workspace_id: WorkspaceId | None = None
    action: str | None = None
    page_size: int = 50
    page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    events: tuple[AuditEvent, ...]
    next_page_token: str


def run(store: Store, command: ListAuditEvents) -> AuditPage:
    """Refusals: TENANT_FORBIDDEN, INVALID_REQUEST (a foreign page_token)."""
    filters = {
        "list": "audit",
        "tenant_id": command.tenant_id,
        "workspace_id": command.workspace_id,
        "action": command.action,
    }
    before = paging.decode(filters, command.page_token)
    with store.reading() as tx:
        rows = audit.page(
            tx,
            tenants=listed_tenants(command.caller, command.tenant_id),
            workspace_id=command.workspace_id,
            action=command.action,
            before=before,
            limit=command.page_size + 1,
        )
    shown = rows[: command.page_size]
    more = len(rows) > len(shown)
    return AuditPage(
        events=tuple(shown),
        next_page_token=paging.encode(filters, shown[-1].time, shown[-1].event_id) if more else "",
    )
