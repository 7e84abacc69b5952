"""Delete a secret of a workspace."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands import access
from provision_service.commands.call import Call, record
from provision_service.storage import secrets, workspaces
from provision_service.storage.secrets import SecretPlace
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteWorkspaceSecret:
    """Which secret."""

    call: Call
    workspace_id: str
    key: str


def run(store: Store, command: DeleteWorkspaceSecret) -> bool:
    """Delete it. False: there was none, as of a removed workspace."""
    with store.transaction() as tx:
        workspace = access.lock_workspace(tx, command.call, command.workspace_id).workspace
        place = SecretPlace(
            tenant_id=workspace.tenant_id, workspace_id=workspace.id, key=command.key
        )
        deleted = secrets.remove(tx, place)
        if deleted:
            workspaces.count_input(tx, workspace.id)
            record(
                tx,
                command.call,
                "secret.delete",
                tenant_id=workspace.tenant_id,
                workspace_id=workspace.id,
                subject=command.key,
                details={"scope": "workspace"},
            )
    return deleted
