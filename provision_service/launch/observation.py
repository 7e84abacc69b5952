"""What the registry saw of a box, applied to its launch and its workspace."""

from __future__ import annotations

import contextlib
from typing import Any, Final

from sqlalchemy import Connection

from provision_service.commands.deployment import Deployment
from provision_service.domain.launch import WorkspaceEvent, may_follow, status_after
from provision_service.domain.lifecycle import ProvisionState, WorkspaceStatus
from provision_service.domain.records import Workspace
from provision_service.domain.registry_port import (
    Registration,
    RegistrationState,
    Registry,
    RegistryRefused,
    RegistryUnavailable,
    RelaunchReason,
)
from provision_service.storage import provisions, workspaces
from provision_service.storage.provisions import Progress
from provision_service.storage.store import Store

# While a launch is in one of these, a read asks the registry whether it got any further.
ON_ITS_WAY: Final = frozenset(
    {
        ProvisionState.ENV_DELIVERED,
        ProvisionState.LAUNCHED,
        ProvisionState.REGISTERED,
        ProvisionState.LAPSED,
    }
)
_HAS_BOX: Final = frozenset(
    {WorkspaceStatus.RUNNING, WorkspaceStatus.DEGRADED, WorkspaceStatus.OFFLINE}
)
_EVENT: Final = {
    RegistrationState.ONLINE: WorkspaceEvent.BOX_HEALTHY,
    RegistrationState.DEGRADED: WorkspaceEvent.BOX_DEGRADED,
    RegistrationState.OFFLINE: WorkspaceEvent.BOX_SILENT,
}


def peek(store: Store, deployment: Deployment, registry: Registry, workspace_id: str) -> bool:
    """Ask the registry and apply the answer; True when something changed.

    Best effort, for reads: a registry that does not answer in time changes nothing.
    """
    with contextlib.suppress(RegistryUnavailable, RegistryRefused):
        seen = registry.get_registration(workspace_id=workspace_id, timeout=deployment.peek_budget)
        with store.transaction() as tx:
            return apply(tx, seen)
    return False


def apply(tx: Connection, seen: Registration) -> bool:
    """Move the workspace and its newest launch to what was seen; True when anything moved."""
    held = workspaces.lock(tx, seen.workspace_id)
    if held is None or held.workspace.remove_time is not None:
        return False
    moved = _move_launch(tx, seen)
    return _move_workspace(tx, held.workspace, seen) or moved


def would_change(workspace: Workspace, seen: Registration, launch: Progress | None = None) -> bool:
    """Whether `apply` has anything to do for the workspace or its launch, judged without a lock."""
    if workspace.remove_time is not None:
        return False
    return bool(_changes(workspace, seen)) or (launch is not None and bool(_steps(launch, seen)))


def is_over(workspace: Workspace, seen: Registration) -> bool:
    """Whether the reason for which the workspace asks to be launched is gone."""
    if seen.suspended or seen.state is RegistrationState.REMOVED:
        return True
    return seen.relaunch is None and seen.incarnation >= workspace.incarnation


def without_a_box(status: WorkspaceStatus) -> WorkspaceStatus:
    """The status when no box that was launched so far gets in any more; a suspension stays."""
    if status is WorkspaceStatus.SUSPENDED:
        return status
    failed = status_after(status, WorkspaceEvent.PROVISION_LAPSED)
    return status_after(failed, WorkspaceEvent.BOX_SILENT)


def _move_launch(tx: Connection, seen: Registration) -> bool:
    launch = provisions.progress(tx, [seen.workspace_id]).get(seen.workspace_id)
    if launch is None:
        return False
    steps = _steps(launch, seen)
    for state in steps:
        now = workspaces.now(tx)
        times = {
            ProvisionState.REGISTERED: {"register_time": seen.register_time or now},
            ProvisionState.PROVEN: {"prove_time": now},
        }
        provisions.set_state(tx, launch.provision_id, state, **times.get(state, {}))
    return bool(steps)


def _steps(launch: Progress, seen: Registration) -> list[ProvisionState]:
    """The states that the launch goes through now, one after the other."""
    state, steps = launch.state, []
    for reached, target in (
        (seen.registered_incarnation >= launch.incarnation, ProvisionState.REGISTERED),
        (seen.healthy_incarnation >= launch.incarnation, ProvisionState.PROVEN),
        (_ticket_ran_out(launch.incarnation, seen), ProvisionState.LAPSED),
    ):
        if reached and may_follow(state, target):
            state = target
            steps.append(state)
    return steps


def _ticket_ran_out(incarnation: int, seen: Registration) -> bool:
    return seen.ticket_unused and seen.incarnation == incarnation


def _move_workspace(tx: Connection, workspace: Workspace, seen: Registration) -> bool:
    changes = _changes(workspace, seen)
    if changes:
        workspaces.change(tx, workspace.id, **changes)
    return bool(changes)


def _changes(workspace: Workspace, seen: Registration) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    # What was seen before a newer launch says nothing about it.
    if seen.incarnation < workspace.incarnation:
        return changes
    status = _status(workspace, seen)
    if status is not workspace.status:
        changes["status"] = status.value
    error = workspace.last_error
    if error is not None and seen.registered_incarnation > error.incarnation:
        changes["last_error"] = None
    if workspace.needs_launch is not None and is_over(workspace, seen):
        changes.update(needs_launch_reason=None, needs_launch_since=None)
    return changes


def _status(workspace: Workspace, seen: Registration) -> WorkspaceStatus:
    status = workspace.status
    if seen.suspended:
        return status_after(status, WorkspaceEvent.SUSPENDED)
    if status is WorkspaceStatus.SUSPENDED and seen.incarnation == workspace.incarnation:
        # Only a launch lifts a suspension: this registry was restored, and does not know of it.
        return status
    if seen.relaunch is RelaunchReason.RESTORED:
        return without_a_box(status)
    if not _box_came(workspace, seen):
        if _ticket_ran_out(workspace.incarnation, seen):
            status = status_after(status, WorkspaceEvent.PROVISION_LAPSED)
        if status is WorkspaceStatus.SUSPENDED:
            status = status_after(status, WorkspaceEvent.BOX_SILENT)
        return status
    if status not in _HAS_BOX:
        status = status_after(status, WorkspaceEvent.BOX_REGISTERED)
    return status_after(status, _EVENT[seen.state])


def _box_came(workspace: Workspace, seen: Registration) -> bool:
    """Whether a box of the newest launch was let in; before any launch, any box."""
    if seen.state not in _EVENT:
        return False
    if workspace.incarnation == 0:
        return seen.register_time is not None
    return seen.registered_incarnation >= workspace.incarnation
