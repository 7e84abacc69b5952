"""List launches, newest first, filtered to the caller's tenants."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands import paging
from provision_service.commands.call import Call, visible_tenants
from provision_service.domain.lifecycle import ProvisionState
from provision_service.domain.records import Provision
from provision_service.storage import provisions
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ListProvisions:
    """Filters; an empty tenant means all the caller's. `id_range`: only ids from the one to the
    other. `page_size` is already bounded."""

    call: Call
    workspace_id: str = ""
    tenant_id: str = ""
    state: ProvisionState | None = None
    id_range: tuple[str, str] | None = None
    page_size: int = 50
    page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListProvisionsResult:
    """A page."""

    provisions: tuple[Provision, ...]
    next_page_token: str


def run(store: Store, command: ListProvisions) -> ListProvisionsResult:
    """Read a page."""
    tenants = visible_tenants(command.call, command.tenant_id)
    listing: tuple[object, ...] = (
        "provisions",
        command.tenant_id,
        command.workspace_id,
        command.state,
    )
    if command.id_range:
        listing = (*listing, command.id_range)
    place = paging.read_token(listing, command.page_token, 2)
    with store.reading() as tx:
        found = provisions.page(
            tx,
            tenants=tenants,
            workspace_id=command.workspace_id,
            state=command.state,
            id_range=command.id_range,
            after=paging.time_and_id(place),
            limit=command.page_size + 1,
        )
    shown = found[: command.page_size]
    token = ""
    if len(found) > command.page_size and shown[-1].create_time is not None:
        last = shown[-1].create_time.isoformat()
        token = paging.make_token(listing, [last, shown[-1].id])
    return ListProvisionsResult(provisions=tuple(shown), next_page_token=token)
