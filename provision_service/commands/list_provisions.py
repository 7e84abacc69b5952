"""List launches, newest first, filtered to the caller's tenants."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.service import paging
from agentworkspace.service.paging import Page
from provision_service.commands.call import Call
from provision_service.domain.lifecycle import ProvisionState
from provision_service.domain.records import Provision
from provision_service.storage import provisions
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ListProvisions:
    """Filters; an empty `tenant_id` means all of the caller's. `id_range` is the first and the last
    id to list. `page_size` is already bounded.
    """

    call: Call
    workspace_id: str = ""
    tenant_id: str = ""
    state: ProvisionState | None = None
    id_range: tuple[str, str] | None = None
    page_size: int = 50
    page_token: str = ""


def run(store: Store, command: ListProvisions) -> Page[Provision]:
    """Read a page."""
    tenants = command.call.caller.listed_tenants(command.tenant_id)
    after = paging.place(command, paging.time, paging.uuid)
    with store.reading() as tx:
        found = provisions.page(
            tx,
            tenants=tenants,
            workspace_id=command.workspace_id,
            state=command.state,
            id_range=command.id_range,
            after=after,
            limit=command.page_size + 1,
        )
    return paging.page(command, found, lambda last: (last.create_time, last.id))
