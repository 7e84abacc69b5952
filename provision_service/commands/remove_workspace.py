"""Remove a workspace for ever: its launches end, and its secrets are deleted."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, func

from provision_service.commands import access
from provision_service.commands.call import Call, record
from provision_service.commands.deployment import Deployment
from provision_service.domain.launch import WorkspaceEvent, status_after
from provision_service.domain.records import Workspace
from provision_service.domain.registry_port import Registry, RegistryRefused, RegistryUnavailable
from provision_service.storage import (
    claims,
    outbox,
    secrets,
    workspaces,
)
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveWorkspace:
    """Which workspace."""

    call: Call
    workspace_id: str


# The removal retires it at the registry itself; the outbox waits, in case that fails.
_OUTBOX_WAITS: Final = timedelta(seconds=1)


def run(
    store: Store, command: RemoveWorkspace, deployment: Deployment, registry: Registry
) -> Workspace:
    """Remove it, then retire it at the registry at once if that answers."""
    with store.transaction() as tx:
        held = access.lock_workspace(tx, command.call, command.workspace_id)
        if held.workspace.remove_time is not None:
            return held.workspace
        remove(tx, command.call, held.workspace)
        outbox.add_retire(
            tx,
            workspace_id=command.workspace_id,
            tenant_id=held.workspace.tenant_id,
            not_before=deployment.admit_budget + _OUTBOX_WAITS,
        )
        workspace = access.read_workspace(tx, command.call, command.workspace_id).workspace
    _retire(store, deployment, registry, workspace)
    return workspace


def remove(tx: Connection, call: Call, workspace: Workspace) -> None:
    """Remove it in this database only. The caller has locked the workspace's row."""
    claims.supersede_all(tx, workspace.id)
    secrets.remove_all(tx, workspace.id)
    workspaces.change(
        tx,
        workspace.id,
        status=status_after(workspace.status, WorkspaceEvent.REMOVED).value,
        remove_time=func.clock_timestamp(),
        needs_launch_reason=None,
        needs_launch_since=None,
    )
    record(
        tx,
        call,
        "workspace.remove",
        tenant_id=workspace.tenant_id,
        workspace_id=workspace.id,
        subject=workspace.spec.name,
    )


def _retire(store: Store, deployment: Deployment, registry: Registry, workspace: Workspace) -> None:
    with contextlib.suppress(RegistryUnavailable, RegistryRefused):
        registry.retire(
            workspace_id=workspace.id,
            tenant_id=workspace.tenant_id,
            timeout=deployment.admit_budget,
        )
        with store.transaction() as tx:
            outbox.forget_workspace(tx, workspace.id)
