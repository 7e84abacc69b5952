"""A revocation as COMPROMISED or SUSPENDED keeps the workspace out until the next launch."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from registry_service.commands import recording
from registry_service.domain.standing import Fence, Workspace
from registry_service.domain.tokens import RevokeReason
from registry_service.storage import workspaces
from registry_service.storage.audit import Change

FENCES: Final = {
    RevokeReason.COMPROMISED: Fence.COMPROMISED,
    RevokeReason.SUSPENDED: Fence.SUSPENDED,
}


def raise_fence(connection: Connection, workspace: Workspace, reason: RevokeReason) -> list[Change]:
    """What to record of it: nothing, when the reason sets no fence or it stood there already."""
    fence = FENCES.get(reason)
    if fence is None or not workspaces.set_fence(connection, workspace.workspace_id, fence):
        return []
    return [recording.change(workspace, "workspace.fenced", details={"fence": fence})]
