"""Read a workspace, with what the registry says of a launch that is on its way."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands import access
from provision_service.commands.call import Call
from provision_service.commands.deployment import Deployment
from provision_service.domain.records import Workspace
from provision_service.domain.registry_port import Registry
from provision_service.launch import observation
from provision_service.storage import provisions
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class GetWorkspace:
    """Which workspace."""

    call: Call
    workspace_id: str


def run(
    store: Store, command: GetWorkspace, deployment: Deployment, registry: Registry
) -> Workspace:
    """Read it. The registry is asked about a launch on its way, briefly, and the answer stored."""
    with store.reading() as tx:
        workspace = access.read_workspace(tx, command.call, command.workspace_id).workspace
        launch = provisions.newest(tx, command.workspace_id)
    if workspace.remove_time is not None or launch is None:
        return workspace
    is_on_its_way = launch.state in observation.ON_ITS_WAY
    if is_on_its_way and observation.peek(store, deployment, registry, workspace.id):
        with store.reading() as tx:
            workspace = access.read_workspace(tx, command.call, command.workspace_id).workspace
    return workspace
