"""List audit events, newest first, filtered to the caller's tenants."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.audit import AuditEvent
from provision_service.commands import paging
from provision_service.commands.call import Call, visible_tenants
from provision_service.storage import audit_rows
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAuditEvents:
    """Filters; an empty tenant means all the caller's. `page_size` is already bounded."""

    call: Call
    tenant_id: str = ""
    workspace_id: str = ""
    action: str = ""
    page_size: int = 50
    page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAuditEventsResult:
    """A page."""

    events: tuple[AuditEvent, ...]
    next_page_token: str


def run(store: Store, command: ListAuditEvents) -> ListAuditEventsResult:
    """Read a page. What concerns no tenant is shown to those who act for all of them."""
    tenants = visible_tenants(command.call, command.tenant_id)
    listing = ("audit", command.tenant_id, command.workspace_id, command.action)
    place = paging.read_token(listing, command.page_token, 1)
    with store.reading() as tx:
        found = audit_rows.page(
            tx,
            tenants=tenants,
            workspace_id=command.workspace_id,
            action=command.action,
            before=paging.number_of(place[0]) if place else None,
            limit=command.page_size + 1,
        )
    shown = found[: command.page_size]
    token = ""
    if len(found) > command.page_size:
        token = paging.make_token(listing, [str(shown[-1][0])])
    return ListAuditEventsResult(events=tuple(event for _, event in shown), next_page_token=token)
