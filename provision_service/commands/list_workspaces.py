"""List workspaces, newest first, filtered to the caller's tenants."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.service import paging
from agentworkspace.service.paging import Page
from provision_service.commands.call import Call
from provision_service.domain.lifecycle import WorkspaceStatus
from provision_service.domain.records import Workspace
from provision_service.storage import workspaces
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ListWorkspaces:
    """Filters; an empty `tenant_id` means all of the caller's. `named`: only those that have this
    name, or whose id begins with it. `page_size` is already bounded.
    """

    call: Call
    tenant_id: str = ""
    status: WorkspaceStatus | None = None
    needs_launch: bool = False
    show_removed: bool = False
    named: str = ""
    page_size: int = 50
    page_token: str = ""


def run(store: Store, command: ListWorkspaces) -> Page[Workspace]:
    """Read a page."""
    tenants = command.call.caller.listed_tenants(command.tenant_id)
    after = paging.place(command, paging.time, paging.uuid)
    with store.reading() as tx:
        found = workspaces.page(
            tx,
            tenants=tenants,
            status=command.status,
            needs_launch=command.needs_launch,
            show_removed=command.show_removed,
            named=command.named,
            after=after,
            limit=command.page_size + 1,
        )
    return paging.page(command, found, lambda last: (last.create_time, last.id))
