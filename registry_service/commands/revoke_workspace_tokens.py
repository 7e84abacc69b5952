"""RevokeWorkspaceTokens: every token of the named kinds."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import WorkspaceId
from registry_service.commands import fencing, grounds, recording
from registry_service.commands.origin import Origin
from registry_service.domain.tokens import RevokeReason, TokenKind
from registry_service.storage import revocation, workspaces
from registry_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeWorkspaceTokens:
    origin: Origin
    caller: Caller
    workspace_id: WorkspaceId
    # Empty means instance and api tokens.
    kinds: frozenset[TokenKind] = frozenset()
    reason: RevokeReason = RevokeReason.OPERATOR
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedWorkspaceTokens:
    revoked_count: int
    revision: int


def run(store: Store, command: RevokeWorkspaceTokens) -> RevokedWorkspaceTokens:
    """Refusals: WORKSPACE_UNKNOWN, TENANT_FORBIDDEN."""
    kinds = command.kinds or frozenset({TokenKind.INSTANCE, TokenKind.API})
    with store.transaction() as connection:
        known = grounds.known_to(
            command.caller,
            workspaces.lock(connection, command.workspace_id),
            command.workspace_id,
        )
        gone = revocation.revoke_kinds(
            connection,
            command.workspace_id,
            kinds,
            reason=command.reason,
            now=known.now,
            note=command.note,
        )
        changes = recording.revoked(known.workspace, gone, command.reason, command.note)
        changes += fencing.raise_fence(connection, known.workspace, command.reason)
        recording.record(connection, command.origin, changes)
        news = [recording.entry_for_all(known.workspace, command.reason)] if gone else []
        return RevokedWorkspaceTokens(
            revoked_count=len(gone), revision=recording.publish(connection, news)
        )
