"""Deregister: the box leaves by itself."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.secret import Secret
from registry_service.commands import evidence, recording
from registry_service.commands.origin import Origin
from registry_service.domain.tokens import RevokeReason
from registry_service.storage import registrations, revocation, tokens, workspaces
from registry_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Deregister:
    origin: Origin
    workspace_id: WorkspaceId
    bearer: Secret | None


def run(store: Store, command: Deregister) -> None:
    """End the box's token for good; the newest box may come back with its ticket.

    Only if the box is of the newest launch does the workspace count as left.

    Refusals: BEARER_MISSING, BEARER_REJECTED, WORKSPACE_UNKNOWN.
    """
    reason = RevokeReason.DEREGISTERED
    with store.transaction() as tx:
        box = evidence.locked_box(tx, command.workspace_id, command.bearer, command.origin)
        token, workspace = box.bearer.token, box.bearer.workspace
        # The unused token that the box was about to rotate into ends, too.
        going = [token, *tokens.pending_of(tx, token.token_id)]
        gone = revocation.revoke(tx, [item.token_id for item in going], reason=reason, now=box.now)
        registrations.leave(tx, command.workspace_id)
        if token.incarnation == workspace.incarnation:
            workspaces.note_left(tx, command.workspace_id)
        changes = recording.revoked(workspace, gone, reason)
        changes.append(recording.change(workspace, "registration.ended", token.token_id))
        recording.record(tx, command.origin, changes)
        news = recording.entries(workspace, gone, reason)
        recording.publish(tx, [*box.use.news, *news])
