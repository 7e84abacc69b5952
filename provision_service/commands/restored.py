"""`provision-service restored`: makes both databases agree again, whichever was restored.

It compares what is stored here with what the registry says, page by page. Each page is committed,
so the next run finishes an interrupted one. The registry is told through the outbox.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Final

from sqlalchemy import Connection

from agentworkspace.service.store_faults import attempt
from provision_service.commands import first_token, remove_workspace
from provision_service.commands.call import Call, record
from provision_service.commands.deployment import Deployment
from provision_service.domain.lifecycle import WorkspaceStatus
from provision_service.domain.records import Workspace
from provision_service.domain.registry_port import Registration, RegistrationState, Registry
from provision_service.domain.restoring import TOLD_BY_ADMISSION, Mending, mendings
from provision_service.storage import claims, outbox, workspaces
from provision_service.storage.store import Store

_AT_ONCE: Final = 200
_NOW: Final = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """`dry_run`: only count what would change."""

    call: Call
    dry_run: bool = False


@dataclass(slots=True)
class Tally:
    """Counts so far: workspaces compared, workspaces by the mending that they need, and launches
    ended because they still held their workspace.
    """

    compared: int = 0
    mended: Counter[Mending] = field(default_factory=Counter)
    launches: int = 0


@dataclass(frozen=True, slots=True)
class _Page:
    """Workspaces with what the registry says of them, and the launches that hold them."""

    workspaces: tuple[Workspace, ...]
    seen: Mapping[str, Registration]
    held: Mapping[str, str]

    def differing(self) -> dict[str, frozenset[Mending]]:
        found = {each.id: mendings(each, self.seen.get(each.id)) for each in self.workspaces}
        return {each: found[each] for each in found if found[each] or each in self.held}


def run(
    store: Store, command: Restored, deployment: Deployment, registry: Registry
) -> Iterator[Tally]:
    """Compare and mend; yields the counts after each page. Raises RegistryUnavailable."""
    tally = Tally()
    after: str | None = None
    while True:
        page = _page(store, deployment, registry, after)
        differing = page.differing()
        if differing and not command.dry_run:
            attempt(partial(_mend, store, command.call, deployment, page, differing))
        tally.compared += len(page.workspaces)
        tally.launches += len(page.held)
        for found in differing.values():
            tally.mended.update(found)
        yield tally
        if len(page.workspaces) < _AT_ONCE:
            return
        after = page.workspaces[-1].id


def remind(tx: Connection, call: Call, deployment: Deployment, seen: Registration) -> bool:
    """Queue a reminder for a registry that counts fewer launches than are stored. False when it
    does not, or when one is queued already.
    """
    held = workspaces.lock(tx, seen.workspace_id)
    if held is None or not held.workspace.admitted:
        return False
    needed = mendings(held.workspace, seen)
    if Mending.REMIND not in needed:
        return False
    _admit(tx, call, held.workspace, deployment, needed)
    return True


def unknown_here(
    store: Store, deployment: Deployment, registry: Registry
) -> Iterator[Registration]:
    """Workspaces that the registry has and that are not stored here."""
    token = ""
    while True:
        found = registry.list_changed_registrations(
            after=0, page_token=token, timeout=deployment.launch_budget
        )
        with store.reading() as tx:
            stored = workspaces.find_many(tx, [each.workspace_id for each in found.registrations])
        for each in found.registrations:
            if each.workspace_id not in stored and each.state is not RegistrationState.REMOVED:
                yield each
        token = found.next_page_token
        if not token:
            return


def _page(store: Store, deployment: Deployment, registry: Registry, after: str | None) -> _Page:
    with store.reading() as tx:
        stored = workspaces.in_order(tx, after=after, limit=_AT_ONCE)
        ids = [each.id for each in stored]
        held = claims.open_claims(tx, ids)
    # An empty list would ask for every workspace.
    seen = (
        registry.list_registrations_of(workspace_ids=ids, timeout=deployment.launch_budget)
        if ids
        else ()
    )
    return _Page(tuple(stored), {each.workspace_id: each for each in seen}, held)


def _mend(
    store: Store,
    call: Call,
    deployment: Deployment,
    page: _Page,
    differing: Iterable[str],
) -> None:
    with store.transaction() as tx:
        for workspace_id in differing:
            held = workspaces.lock(tx, workspace_id)
            if held is None:
                continue
            workspace, seen = held.workspace, page.seen.get(workspace_id)
            if workspace_id in page.held:
                _end_launch(tx, call, workspace, page.held[workspace_id])
            # Judged again under the lock, in case somebody serves meanwhile.
            needed = mendings(workspace, seen)
            if Mending.RETIRE in needed:
                _retire(tx, call, workspace)
            if Mending.REMOVE in needed:
                remove_workspace.remove(tx, call, workspace)
            if Mending.COUNT_ON in needed and seen is not None:
                _count_on(tx, call, workspace, seen.incarnation)
            if needed & TOLD_BY_ADMISSION:
                _admit(tx, call, workspace, deployment, needed)


def _end_launch(tx: Connection, call: Call, workspace: Workspace, provision_id: str) -> None:
    """End it: the ticket it handed out may open nothing, and nobody should wait for its lease."""
    claims.end(tx, provision_id)
    _note(tx, call, "provision.ended", workspace, subject=provision_id)


def _retire(tx: Connection, call: Call, workspace: Workspace) -> None:
    outbox.add_retire(tx, workspace_id=workspace.id, tenant_id=workspace.tenant_id, not_before=_NOW)
    _note(tx, call, "workspace.retired_again", workspace)


def _count_on(tx: Connection, call: Call, workspace: Workspace, number: int) -> None:
    workspaces.change(tx, workspace.id, incarnation=number)
    facts = {"from": str(workspace.incarnation), "to": str(number)}
    _note(tx, call, "workspace.counted_on", workspace, details=facts)


def _admit(
    tx: Connection,
    call: Call,
    workspace: Workspace,
    deployment: Deployment,
    needed: frozenset[Mending],
) -> None:
    admission = first_token.admission_of(
        deployment,
        workspace_id=workspace.id,
        tenant_id=workspace.tenant_id,
        external_like=deployment.catalogue().has_no_entry_by_design(workspace.spec.runtime),
    )
    told = replace(
        admission,
        remembered_incarnation=workspace.incarnation,
        suspended=workspace.status is WorkspaceStatus.SUSPENDED,
    )
    outbox.admit_again(tx, told)
    # So that a launch which comes before the outbox has done it admits the workspace itself.
    workspaces.change(tx, workspace.id, admitted=False)
    facts = {"for": " ".join(sorted(needed)), "incarnation": str(workspace.incarnation)}
    _note(tx, call, "workspace.admitted_again", workspace, details=facts)


def _note(
    tx: Connection,
    call: Call,
    action: str,
    workspace: Workspace,
    *,
    subject: str = "",
    details: Mapping[str, str] | None = None,
) -> None:
    record(
        tx,
        call,
        action,
        tenant_id=workspace.tenant_id,
        workspace_id=workspace.id,
        subject=subject,
        details=details,
    )
