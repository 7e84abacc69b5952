"""Worker step: mark workspaces whose box fell silent, or never came, as to be launched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from provision_service.catalogue.catalogue import Catalogue
from provision_service.commands.call import SYSTEM, record
from provision_service.commands.deployment import Deployment
from provision_service.domain.lifecycle import NeedsLaunchReason
from provision_service.domain.reconciliation import Marking, choose_marks
from provision_service.domain.records import Workspace
from provision_service.domain.registry_port import (
    Registration,
    RegistrationState,
    Registry,
    RegistryRefused,
)
from provision_service.storage import lapsed_rows, reconciler_rows, workspace_rows
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """One look at everything the registry calls silent, and at launches that never came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileResult:
    """`paused` says in a sentence that the cap was met; empty when it was not."""

    marked: tuple[str, ...]
    paused: str


def run(
    store: Store, command: Reconcile, deployment: Deployment, registry: Registry
) -> ReconcileResult:
    """Mark what needs it. RegistryUnavailable and RegistryRefused change nothing and are raised.

    The registry says who is silent: it knows uptime, grace and who left on purpose, also of
    the boxes that never came. What is known here only is left out here: external-like,
    removed, or being launched right now.
    """
    del command
    silent = _silent(registry, deployment)
    excused = _excused(store, registry, deployment)
    catalogue = deployment.catalogue()
    with store.transaction() as tx:
        recent = reconciler_rows.take(tx)
        if recent is None:
            return ReconcileResult(marked=(), paused="")
        wanted = _candidates(tx, catalogue, silent, excused)
        marking = choose_marks(
            list(wanted),
            workspaces=workspace_rows.count_alive(tx),
            marked_last_minute=recent.used,
        )
        marked = [
            each for each in marking.workspace_ids if _mark(tx, catalogue, each, wanted[each])
        ]
        paused = _paused(marking, len(marked))
        reconciler_rows.settle(tx, recent, marked=len(marked), paused_reason=paused)
    return ReconcileResult(marked=tuple(marked), paused=paused)


def _silent(registry: Registry, deployment: Deployment) -> dict[str, Registration]:
    """Every registration that the registry calls silent without an excuse."""
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


def _excused(store: Store, registry: Registry, deployment: Deployment) -> frozenset[str]:
    """Of the workspaces whose box never came, those that nobody may launch unasked."""
    with store.reading() as tx:
        never_came = lapsed_rows.never_came(tx)
    return frozenset(each for each in never_came if _is_excused(registry, deployment, each))


def _is_excused(registry: Registry, deployment: Deployment, workspace_id: str) -> bool:
    try:
        seen = registry.get_registration(workspace_id=workspace_id, timeout=deployment.peek_budget)
    except RegistryRefused:
        # It was never admitted there: the launch that is asked for will see to that.
        return False
    return seen.suspended or seen.deregistered or seen.state is RegistrationState.REMOVED


def _candidates(
    tx: Connection,
    catalogue: Catalogue,
    silent: Mapping[str, Registration],
    excused: frozenset[str],
) -> dict[str, Registration | None]:
    """Whom to mark, the longest silent first; None for a launch whose box never came."""
    stored = workspace_rows.find_many(tx, list(silent))
    busy = lapsed_rows.with_live_claim(tx, list(stored))
    quiet = [
        each
        for each in silent.values()
        if each.workspace_id not in busy
        and _is_markable(stored.get(each.workspace_id), catalogue)
        and stored[each.workspace_id].incarnation == each.incarnation
    ]
    quiet.sort(key=lambda each: (each.silent_since is None, each.silent_since, each.workspace_id))
    wanted: dict[str, Registration | None] = {each.workspace_id: each for each in quiet}
    for workspace_id in lapsed_rows.never_came(tx):
        if workspace_id not in excused:
            wanted.setdefault(workspace_id, None)
    return wanted


def _is_markable(workspace: Workspace | None, catalogue: Catalogue) -> bool:
    return (
        workspace is not None
        and workspace.remove_time is None
        and workspace.needs_launch is None
        and not catalogue.has_no_entry_by_design(workspace.spec.runtime)
    )


def _mark(
    tx: Connection, catalogue: Catalogue, workspace_id: str, seen: Registration | None
) -> bool:
    held = workspace_rows.lock(tx, workspace_id)
    if held is None or not _is_markable(held.workspace, catalogue):
        return False
    if lapsed_rows.with_live_claim(tx, [workspace_id]):
        return False
    reason = NeedsLaunchReason.LAPSED if seen is None else NeedsLaunchReason.SILENT
    since = seen.silent_since if seen is not None else None
    reconciler_rows.mark(tx, workspace_id, reason, since)
    failure = seen.last_register_failure if seen is not None else None
    if failure is not None:
        workspace_rows.record_error(
            tx,
            held.workspace,
            code=f"ERROR_REASON_{failure.reason}",
            message=f"its box was refused by the registry: {failure.reason}",
            time=failure.time,
            incarnation=failure.incarnation,
        )
    record(
        tx,
        SYSTEM,
        "workspace.needs_launch",
        tenant_id=held.workspace.tenant_id,
        workspace_id=workspace_id,
        details={"reason": reason.value},
    )
    return True


def _paused(marking: Marking, marked: int) -> str:
    if not marking.stopped:
        return ""
    return (
        f"{marking.held_back} more workspaces are silent than may be marked within a minute;"
        f" {marked} were marked now. Look for a cause that they share"
    )
