"""ListRegistrations: how workspaces stand, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import TenantId, WorkspaceId
from registry_service.commands import paging, registration_view
from registry_service.commands.views import Registration
from registry_service.domain.liveness import HEARTBEAT_INTERVAL, SILENT_AT_LEAST, RegistrationState
from registry_service.storage import pulse, registration_reads
from registry_service.storage.store import Store

_CHUNK: Final = 500
_ALIVE: Final = (RegistrationState.ONLINE, RegistrationState.DEGRADED)
# What may be stored of one that is in this state now.
_STORED_AS: Final[dict[RegistrationState, Sequence[str]]] = {
    RegistrationState.PENDING: (RegistrationState.PENDING, *_ALIVE),
    RegistrationState.ONLINE: (RegistrationState.ONLINE,),
    RegistrationState.DEGRADED: (RegistrationState.DEGRADED,),
    RegistrationState.OFFLINE: (RegistrationState.OFFLINE, *_ALIVE),
    RegistrationState.REMOVED: (RegistrationState.REMOVED,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRegistrations:
    """`tenant_id` None: of all the caller's tenants. `workspace_ids` empty: any workspace."""

    caller: Caller
    tenant_id: TenantId | None = None
    state: RegistrationState | None = None
    needs_relaunch: bool = False
    page_size: int = 50
    page_token: str = ""
    workspace_ids: tuple[WorkspaceId, ...] = ()
    heartbeat_interval: timedelta = HEARTBEAT_INTERVAL


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationPage:
    registrations: tuple[Registration, ...]
    next_page_token: str


def run(store: Store, command: ListRegistrations) -> RegistrationPage:
    """Refusals: TENANT_FORBIDDEN, INVALID_REQUEST (a foreign page_token)."""
    filters: dict[str, object] = {
        "list": "registrations",
        "tenant_id": command.tenant_id,
        "state": command.state,
        "needs_relaunch": command.needs_relaunch,
    }
    if command.workspace_ids:
        filters["workspace_ids"] = command.workspace_ids
    before = paging.decode(filters, command.page_token)
    tenants = listed_tenants(command.caller, command.tenant_id)
    found: list[Registration] = []
    with store.reading() as connection:
        uptime = pulse.read(connection)
        while len(found) <= command.page_size:
            rows = _rows(connection, command, tenants, uptime.now, before)
            found += filter(
                partial(_wanted, command),
                (registration_view.view(row, uptime, command.heartbeat_interval) for row in rows),
            )
            if len(rows) < _CHUNK:
                break
            before = rows[-1].create_time.isoformat(), str(rows[-1].workspace_id)
    shown = found[: command.page_size]
    more = len(found) > len(shown)
    return RegistrationPage(
        registrations=tuple(shown),
        next_page_token=(
            paging.encode(filters, shown[-1].create_time, shown[-1].workspace_id) if more else ""
        ),
    )


def listed_tenants(caller: Caller, tenant_id: TenantId | None) -> list[str] | None:
    """Which tenants to list; None: all. Refusal TENANT_FORBIDDEN."""
    if tenant_id is not None:
        caller.require_tenant(tenant_id)
        return [tenant_id]
    return None if caller.tenants is None else sorted(caller.tenants)


def _rows(
    connection: Connection,
    command: ListRegistrations,
    tenants: list[str] | None,
    now: datetime,
    before: tuple[str, str] | None,
) -> Sequence[Any]:
    """A chunk that holds every wanted one; the rules of liveness sort out the rest."""
    return registration_reads.page(
        connection,
        tenants=tenants,
        workspace_ids=command.workspace_ids or None,
        states=_STORED_AS.get(command.state) if command.state else None,
        silent_before=now - SILENT_AT_LEAST if command.needs_relaunch else None,
        before=before,
        limit=_CHUNK,
    )


def _wanted(command: ListRegistrations, registration: Registration) -> bool:
    if command.needs_relaunch and not registration.needs_relaunch:
        return False
    return command.state in (None, registration.state)
