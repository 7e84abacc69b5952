"""ListRegistrations: workspaces and their boxes, newest first, or in the order of their changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import TenantId, WorkspaceId
from agentworkspace.service import paging
from agentworkspace.service.paging import Page
from registry_service.commands import registration_view
from registry_service.commands.views import Registration
from registry_service.domain.liveness import RegistrationState
from registry_service.domain.relaunch import SILENT_AT_LEAST, RelaunchReason
from registry_service.storage import pulse, registration_reads
from registry_service.storage.pulse import Uptime
from registry_service.storage.store import Store

_CHUNK: Final = 500
_ALIVE: Final = (RegistrationState.ONLINE, RegistrationState.DEGRADED)
# Which states may be stored of a box that is in this state now.
_STORED_AS: Final[dict[RegistrationState, Sequence[str]]] = {
    RegistrationState.PENDING: (RegistrationState.PENDING, *_ALIVE),
    RegistrationState.ONLINE: (RegistrationState.ONLINE,),
    RegistrationState.DEGRADED: (RegistrationState.DEGRADED,),
    RegistrationState.OFFLINE: (RegistrationState.OFFLINE, *_ALIVE),
    RegistrationState.REMOVED: (RegistrationState.REMOVED,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRegistrations:
    """What to list.

    `tenant_id` None means all the caller's tenants; `workspace_ids` empty means any workspace.
    `id_range` has the first and the last id to list. `changed_after` lists only what changed after
    that revision (a few may be listed again); None lists without regard to changes.
    """

    caller: Caller
    tenant_id: TenantId | None = None
    state: RegistrationState | None = None
    needs_relaunch: bool = False
    relaunch_reason: RelaunchReason | None = None
    changed_after: int | None = None
    page_size: int = 50
    page_token: str = ""
    workspace_ids: tuple[WorkspaceId, ...] = ()
    id_range: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class RegistrationPage(Page[Registration]):
    # With `changed_after`: what to send as `changed_after` the next time.
    revision: int = 0


def run(store: Store, command: ListRegistrations) -> RegistrationPage:
    """Refusals: TENANT_FORBIDDEN, INVALID_REQUEST (a foreign page_token)."""
    tenants = command.caller.listed_tenants(command.tenant_id)
    if command.changed_after is not None:
        return _changed(store, command, tenants, after=command.changed_after)
    before = paging.place(command, paging.time, paging.uuid)
    found: list[Registration] = []
    with store.reading() as tx:
        uptime = pulse.read(tx)
        while len(found) <= command.page_size:
            rows = _rows(tx, command, tenants, uptime.now, before)
            found += _wanted_of(command, rows, uptime)
            if len(rows) < _CHUNK:
                break
            before = rows[-1].create_time, str(rows[-1].workspace_id)
    page = paging.page(command, found, lambda last: (last.create_time, last.workspace_id))
    return RegistrationPage(page.rows, page.next_page_token)


def _changed(
    store: Store,
    command: ListRegistrations,
    tenants: list[str] | None,
    *,
    after: int,
) -> RegistrationPage:
    going_on = paging.place(command, paging.number, paging.uuid, paging.number)
    found: list[Registration] = []
    with store.reading() as tx:
        newest = registration_reads.revision(tx)
        # A revision from the future stems from before a restore of the database: list everything.
        after = after if after <= newest else 0
        # All pages of one listing have the revision of their first page, so that no change is lost.
        beyond, revision = (going_on[:2], going_on[2]) if going_on else (None, newest)
        uptime = pulse.read(tx)
        # Without a filter every row that is read is shown, so no more need be read.
        limit = _CHUNK if _narrows(command) else command.page_size + 1
        while len(found) <= command.page_size:
            rows = registration_reads.changed(
                tx, after=after, tenants=tenants, beyond=beyond, limit=limit
            )
            found += _wanted_of(command, rows, uptime)
            if len(rows) < limit:
                break
            beyond = rows[-1].changed, str(rows[-1].workspace_id)
    page = paging.page(command, found, lambda last: (last.changed, last.workspace_id, revision))
    return RegistrationPage(page.rows, page.next_page_token, revision)


def _wanted_of(
    command: ListRegistrations, rows: Sequence[Any], uptime: Uptime
) -> list[Registration]:
    """What the rules of liveness leave of the rows, of which the statement finds too many."""
    views = (registration_view.view(row, uptime) for row in rows)
    return [view for view in views if _wanted(command, view)]


def _rows(
    tx: Connection,
    command: ListRegistrations,
    tenants: list[str] | None,
    now: datetime,
    before: tuple[datetime, str] | None,
) -> Sequence[Any]:
    """A chunk of rows, with every wanted one among them; `_wanted_of` drops the others."""
    return registration_reads.page(
        tx,
        tenants=tenants,
        workspace_ids=command.workspace_ids or None,
        states=_STORED_AS.get(command.state) if command.state else None,
        id_range=command.id_range,
        silent_before=now - SILENT_AT_LEAST if _relaunches(command) else None,
        before=before,
        limit=_CHUNK,
    )


def _relaunches(command: ListRegistrations) -> bool:
    return command.needs_relaunch or command.relaunch_reason is not None


def _narrows(command: ListRegistrations) -> bool:
    """Whether the command filters by more than the tenant."""
    only = (command.state, command.id_range, command.workspace_ids)
    return _relaunches(command) or any(only)


def _wanted(command: ListRegistrations, registration: Registration) -> bool:
    reason = registration.relaunch.reason if registration.relaunch else None
    if _relaunches(command) and reason is None:
        return False
    if command.relaunch_reason not in (None, reason):
        return False
    if command.id_range:
        first, last = command.id_range
        if not first <= registration.workspace_id <= last:
            return False
    if command.workspace_ids and registration.workspace_id not in command.workspace_ids:
        return False
    return command.state in (None, registration.state)
