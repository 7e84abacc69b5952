"""GetRegistration: how a workspace stands."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import WorkspaceId
from registry_service.commands import grounds, registration_view
from registry_service.commands.views import Registration
from registry_service.storage import workspaces
from registry_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class GetRegistration:
    caller: Caller
    workspace_id: WorkspaceId


def run(store: Store, command: GetRegistration) -> Registration:
    """Refusals: WORKSPACE_UNKNOWN, TENANT_FORBIDDEN."""
    with store.reading() as tx:
        grounds.known_to(
            command.caller,
            workspaces.read(tx, command.workspace_id),
            command.workspace_id,
        )
        return registration_view.read(tx, command.workspace_id)
