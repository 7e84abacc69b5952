"""From an id to a workspace or a launch that the caller may touch."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from agentworkspace.core.refusal import Refusal, SharedReason
from provision_service.commands.call import Call
from provision_service.domain.records import Provision
from provision_service.domain.refusals import Reason
from provision_service.storage import provisions, workspaces
from provision_service.storage.workspace_records import Held


def read_workspace(tx: Connection, call: Call, workspace_id: str) -> Held:
    """Raises WORKSPACE_UNKNOWN or TENANT_FORBIDDEN; a removed one is still read."""
    return _admitted(call, workspace_id, workspaces.find(tx, workspace_id))


def lock_workspace(tx: Connection, call: Call, workspace_id: str) -> Held:
    """The same as `read_workspace`, and the row stays locked."""
    return _admitted(call, workspace_id, workspaces.lock(tx, workspace_id))


def lock_living_workspace(tx: Connection, call: Call, workspace_id: str) -> Held:
    """The same as `lock_workspace`; a removed one is WORKSPACE_REMOVED."""
    held = lock_workspace(tx, call, workspace_id)
    require_living(held)
    return held


def require_owned(call: Call, held: Held) -> None:
    """Raise TENANT_FORBIDDEN unless the caller may touch it."""
    call.caller.require_owner(held.workspace.tenant_id, "workspace", held.workspace.id)


def require_living(held: Held) -> None:
    """Raise WORKSPACE_REMOVED when it was removed."""
    if held.workspace.remove_time is not None:
        raise removed(held.workspace.id)


def removed(workspace_id: str) -> Refusal:
    """The refusal of everything that would bring a removed workspace back."""
    return Refusal(
        SharedReason.WORKSPACE_REMOVED,
        f"workspace {workspace_id} was removed and never comes back",
        metadata={"workspace_id": workspace_id},
    )


def read_provision(tx: Connection, call: Call, provision_id: str) -> tuple[Provision, datetime]:
    """A launch and the database's clock. Raises PROVISION_UNKNOWN or TENANT_FORBIDDEN."""
    found = provisions.find(tx, provision_id)
    tenant_id = None if found is None else found[0].tenant_id
    call.caller.require_owner(tenant_id, "provision", provision_id)
    if found is None:
        raise Refusal(
            Reason.PROVISION_UNKNOWN,
            f"no launch {provision_id} is known",
            metadata={"provision_id": provision_id},
        )
    return found


def superseded(provision_id: str, why: str) -> Refusal:
    """The refusal of a launch that does not hold its workspace's claim; nothing was written."""
    return Refusal(
        Reason.PROVISION_SUPERSEDED,
        f"launch {provision_id} no longer holds its workspace: {why}",
        metadata={"provision_id": provision_id},
    )


def _admitted(call: Call, workspace_id: str, held: Held | None) -> Held:
    tenant_id = None if held is None else held.workspace.tenant_id
    call.caller.require_owner(tenant_id, "workspace", workspace_id)
    if held is None:
        raise Refusal(
            SharedReason.WORKSPACE_UNKNOWN,
            f"no workspace {workspace_id} is known",
            metadata={"workspace_id": workspace_id},
        )
    return held


def check_parent(tx: Connection, *, workspace_id: str, tenant_id: str, parent_id: str) -> None:
    """Raise PARENT_INVALID: the parent is unknown, removed, another tenant's, or closes a cycle."""
    if not parent_id:
        return
    problem = workspaces.parent_problem(
        tx, workspace_id=workspace_id, tenant_id=tenant_id, parent_id=parent_id
    )
    if problem is not None:
        raise Refusal(
            Reason.PARENT_INVALID,
            f"parent {parent_id} {problem}",
            metadata={"parent_id": parent_id},
        )
