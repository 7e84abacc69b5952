"""Worker step: mark the workspaces that need a launch, and take the marks away again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from provision_service.catalogue.catalogue import Catalogue
from provision_service.commands.call import SYSTEM, record
from provision_service.commands.deployment import Deployment
from provision_service.domain.lifecycle import NeedsLaunchReason
from provision_service.domain.reconciliation import Marking, choose_marks
from provision_service.domain.records import Workspace
from provision_service.domain.registry_port import Registration, Registry, RelaunchReason
from provision_service.launch import observation
from provision_service.storage import lapsed, reconciler, workspaces
from provision_service.storage.store import Store

_REASON: Final = {
    RelaunchReason.SILENT: NeedsLaunchReason.SILENT,
    RelaunchReason.TICKET_UNUSED: NeedsLaunchReason.LAPSED,
    RelaunchReason.NEWEST_REFUSED: NeedsLaunchReason.NEWEST_REFUSED,
    RelaunchReason.RESTORED: NeedsLaunchReason.RESTORED,
}
_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileResult:
    """`marked_for` has the reason for each workspace that was marked.
    `paused` says in a sentence that the cap was met; empty when it was not.
    """

    marked_for: Mapping[str, NeedsLaunchReason] = field(default_factory=dict)
    unmarked: tuple[str, ...] = ()
    paused: str = ""

    @property
    def marked(self) -> tuple[str, ...]:
        return tuple(self.marked_for)


def run(store: Store, deployment: Deployment, registry: Registry) -> ReconcileResult:
    """One look at everything that the registry says needs a launch, and at what is marked here:
    mark and unmark. RegistryUnavailable and RegistryRefused change nothing and are raised.

    The registry alone decides who needs a launch: it knows uptime, grace, tickets and who left
    on purpose. What is known here only is left out here: external-like, removed, or being
    launched right now.
    """
    needing = _needing(registry, deployment)
    with store.reading() as tx:
        marked_before = reconciler.marked(tx)
    known = _of(registry, deployment, marked_before - needing.keys())
    catalogue = deployment.catalogue()
    with store.transaction() as tx:
        recent = reconciler.take(tx)
        if recent is None:
            return ReconcileResult()
        unmarked = [each for each in sorted(marked_before) if _unmark(tx, each, known)]
        wanted = _candidates(tx, catalogue, needing)
        marking = choose_marks(
            list(wanted),
            workspaces=workspaces.count_living(tx) if wanted else 0,
            marked_last_minute=recent.used,
        )
        marks = {each: _mark(tx, catalogue, wanted[each]) for each in marking.workspace_ids}
        marked = {each: reason for each, reason in marks.items() if reason is not None}
        paused = _paused(marking, len(marked))
        reconciler.settle(tx, recent, marked=len(marked), paused_reason=paused)
    return ReconcileResult(
        marked_for=marked,
        unmarked=tuple(unmarked),
        paused=paused,
    )


def _needing(registry: Registry, deployment: Deployment) -> dict[str, Registration]:
    """Every registration that needs a launch."""
    found: dict[str, Registration] = {}
    token = ""
    while True:
        page = registry.list_registrations_needing_relaunch(
            page_token=token, timeout=deployment.launch_budget
        )
        found |= {each.workspace_id: each for each in page.registrations}
        token = page.next_page_token
        if not token:
            return found


def _of(
    registry: Registry, deployment: Deployment, workspace_ids: Iterable[str]
) -> dict[str, Registration]:
    """What the registry says of these; one that it does not know is left out."""
    asked = sorted(workspace_ids)
    found: dict[str, Registration] = {}
    for start in range(0, len(asked), _AT_ONCE):
        part = registry.list_registrations_of(
            workspace_ids=asked[start : start + _AT_ONCE], timeout=deployment.launch_budget
        )
        found |= {each.workspace_id: each for each in part}
    return found


def _candidates(
    tx: Connection, catalogue: Catalogue, needing: Mapping[str, Registration]
) -> dict[str, Registration]:
    """Whom to mark, the one that waits longest first."""
    stored = workspaces.find_many(tx, list(needing))
    busy = lapsed.with_live_claim(tx, list(stored))
    found = [
        each
        for each in needing.values()
        if each.workspace_id not in busy
        and _reason(stored.get(each.workspace_id), catalogue, each) is not None
    ]
    found.sort(
        key=lambda each: (each.relaunch_since is None, each.relaunch_since, each.workspace_id)
    )
    return {each.workspace_id: each for each in found}


def _reason(
    workspace: Workspace | None, catalogue: Catalogue, seen: Registration
) -> NeedsLaunchReason | None:
    """Why the workspace is to be marked; None when it is not."""
    if workspace is None or workspace.remove_time is not None or workspace.needs_launch is not None:
        return None
    if seen.suspended or catalogue.has_no_entry_by_design(workspace.spec.runtime):
        return None
    if seen.relaunch is None:
        return None
    # Where the registry counts fewer launches, one was stored since it was asked; only a restored
    # one counts fewer for good. Where it counts more, the environment of one was never handed out.
    if seen.incarnation < workspace.incarnation and seen.relaunch is not RelaunchReason.RESTORED:
        return None
    return _REASON[seen.relaunch]


def _mark(tx: Connection, catalogue: Catalogue, seen: Registration) -> NeedsLaunchReason | None:
    """Mark it, and answer for which reason; None when there is none any more."""
    held = workspaces.lock(tx, seen.workspace_id)
    reason = _reason(held.workspace if held is not None else None, catalogue, seen)
    if held is None or reason is None or lapsed.with_live_claim(tx, [seen.workspace_id]):
        return None
    reconciler.mark(tx, seen.workspace_id, reason, seen.relaunch_since)
    failure = seen.last_register_failure
    if failure is not None:
        workspaces.record_error(
            tx,
            held.workspace,
            code=f"ERROR_REASON_{failure.reason}",
            message=f"its box was refused by the registry: {failure.reason}",
            time=failure.time,
            incarnation=failure.incarnation,
        )
    _record(tx, held.workspace, "workspace.needs_launch", old="", new=reason.value)
    return reason


def _unmark(tx: Connection, workspace_id: str, known: Mapping[str, Registration]) -> bool:
    """Take the mark away when the registry says that the reason is gone."""
    seen = known.get(workspace_id)
    if seen is None:
        return False
    held = workspaces.lock(tx, workspace_id)
    mark = held.workspace.needs_launch if held is not None else None
    if held is None or mark is None or not observation.is_over(held.workspace, seen):
        return False
    workspaces.change(tx, workspace_id, needs_launch_reason=None, needs_launch_since=None)
    _record(tx, held.workspace, "workspace.needs_no_launch", old=mark.reason.value, new="")
    return True


def _record(tx: Connection, workspace: Workspace, action: str, *, old: str, new: str) -> None:
    record(
        tx,
        SYSTEM,
        action,
        tenant_id=workspace.tenant_id,
        workspace_id=workspace.id,
        details={"from": old, "to": new},
    )


def _paused(marking: Marking, marked: int) -> str:
    if not marking.stopped:
        return ""
    return (
        f"{marking.held_back} more workspaces need a launch than may be marked within a minute;"
        f" {marked} were marked now. Look for a cause that they share"
    )
