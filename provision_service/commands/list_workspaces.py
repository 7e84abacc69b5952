"""List workspaces, newest first, filtered to the caller's tenants."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands import paging
from provision_service.commands.call import Call, visible_tenants
from provision_service.domain.lifecycle import WorkspaceStatus
from provision_service.domain.records import Workspace
from provision_service.storage import workspaces
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ListWorkspaces:
    """Filters; an empty tenant means all the caller's. `named`: only those that have this name, or
    whose id begins with it. `page_size` is already bounded."""

    call: Call
    tenant_id: str = ""
    status: WorkspaceStatus | None = None
    needs_launch: bool = False
    show_removed: bool = False
    named: str = ""
    page_size: int = 50
    page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListWorkspacesResult:
    """A page."""

    workspaces: tuple[Workspace, ...]
    next_page_token: str


def run(store: Store, command: ListWorkspaces) -> ListWorkspacesResult:
    """Read a page."""
    tenants = visible_tenants(command.call, command.tenant_id)
    listing: tuple[object, ...] = (
        "workspaces",
        command.tenant_id,
        command.status,
        command.needs_launch,
        command.show_removed,
    )
    if command.named:
        listing = (*listing, command.named)
    place = paging.read_token(listing, command.page_token, 2)
    with store.reading() as tx:
        found = workspaces.page(
            tx,
            tenants=tenants,
            status=command.status,
            needs_launch=command.needs_launch,
            show_removed=command.show_removed,
            named=command.named,
            after=paging.time_and_id(place),
            limit=command.page_size + 1,
        )
    shown = found[: command.page_size]
    token = ""
    if len(found) > command.page_size:
        last = shown[-1]
        token = paging.make_token(listing, [last.create_time.isoformat(), last.id])
    return ListWorkspacesResult(workspaces=tuple(shown), next_page_token=token)
