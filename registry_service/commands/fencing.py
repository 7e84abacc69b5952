"""Fences: each ends what a workspace's boxes hold, and keeps them out."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from agentworkspace.core.audit import Change
from agentworkspace.core.ids import TokenId
from registry_service.commands import recording
from registry_service.domain.standing import Fence
from registry_service.domain.tokens import RevokeReason, Token, TokenKind
from registry_service.storage import registrations, revocation, tokens, workspaces
from registry_service.storage.workspaces import Known

REASON: Final = {
    Fence.COMPROMISED: RevokeReason.COMPROMISED,
    Fence.SUSPENDED: RevokeReason.SUSPENDED,
}
_OF_A_BOX: Final = frozenset({TokenKind.INSTANCE, TokenKind.PROXY})


@dataclass(slots=True)
class Ended:
    """What a revocation did: its audit entries, and the tokens that it ended."""

    changes: list[Change] = field(default_factory=list)
    gone: list[Token] = field(default_factory=list)

    def add(self, other: Ended) -> None:
        self.changes += other.changes
        self.gone += other.gone


def condemn(tx: Connection, known: Known, going: Set[TokenId], *, fence: bool, note: str) -> Ended:
    """End these tokens as stolen, and if `fence` is set, fence the workspace, too."""
    condemned = revocation.condemn(tx, going, now=known.now, note=note)
    reason = RevokeReason.COMPROMISED
    changes = recording.revoked(known.workspace, condemned.found, reason, note)
    ended = Ended(changes, condemned.ended)
    if fence:
        ended.add(raise_fence(tx, known, Fence.COMPROMISED, note))
    return ended


def raise_fence(tx: Connection, known: Known, fence: Fence, note: str) -> Ended:
    """Set the fence, revoke every token of a box, and void the outstanding ticket."""
    workspace, reason = known.workspace, REASON[fence]
    ended = Ended()
    if fence not in workspace.fences:
        workspaces.set_fence(tx, workspace.workspace_id, fence)
        ended.changes.append(
            recording.change(workspace, "workspace.fenced", details={"fence": fence})
        )
    ended.gone += revocation.revoke_kinds(
        tx, workspace.workspace_id, _OF_A_BOX, reason=reason, now=known.now, note=note
    )
    ticket = tokens.newest_ticket(tx, workspace.workspace_id)
    if ticket and ticket.is_outstanding(known.now):
        ended.gone += revocation.revoke(
            tx, [ticket.token_id], reason=reason, now=known.now, note=note
        )
    registrations.note_change(tx, workspace.workspace_id)
    ended.changes += recording.revoked(workspace, ended.gone, reason, note)
    return ended
