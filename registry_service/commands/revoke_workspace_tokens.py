"""RevokeWorkspaceTokens: revokes all tokens of some kinds, or suspends the workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import TokenId, WorkspaceId
from registry_service.commands import fencing, grounds, recording
from registry_service.commands.fencing import Ended
from registry_service.commands.origin import Origin
from registry_service.domain import compromise
from registry_service.domain.standing import Fence
from registry_service.domain.tokens import REOPENING, RevokeReason, Token, TokenKind
from registry_service.storage import registrations, revocation, tokens, workspaces
from registry_service.storage.store import Store
from registry_service.storage.workspaces import Known

USUAL_KINDS: Final = frozenset({TokenKind.INSTANCE, TokenKind.API})


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeWorkspaceTokens:
    """`reason` is OPERATOR, COMPROMISED or SUSPENDED. `kinds` empty means instance and api tokens,
    but with SUSPENDED it must be empty.
    """

    origin: Origin
    caller: Caller
    workspace_id: WorkspaceId
    kinds: frozenset[TokenKind] = frozenset()
    reason: RevokeReason
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedWorkspaceTokens:
    revoked_count: int
    revision: int


def run(store: Store, command: RevokeWorkspaceTokens) -> RevokedWorkspaceTokens:
    """Refusals: WORKSPACE_UNKNOWN, TENANT_FORBIDDEN."""
    with store.transaction() as tx:
        known = grounds.known_to(
            command.caller,
            workspaces.lock(tx, command.workspace_id),
            command.workspace_id,
        )
        if command.reason is RevokeReason.SUSPENDED:
            ended = fencing.raise_fence(tx, known, Fence.SUSPENDED, command.note)
        elif command.reason is RevokeReason.COMPROMISED:
            ended = _stolen(tx, command, known)
        else:
            ended = _taken(tx, command, known)
        recording.record(tx, command.origin, ended.changes)
        workspace_wide = recording.entry_for_all(known.workspace, command.reason)
        revision = recording.publish(tx, [workspace_wide] if ended.gone else [])
        counted = command.kinds or USUAL_KINDS
        return RevokedWorkspaceTokens(
            revoked_count=sum(token.kind in counted for token in ended.gone), revision=revision
        )


def _taken(tx: Connection, command: RevokeWorkspaceTokens, known: Known) -> Ended:
    gone = revocation.revoke_kinds(
        tx,
        command.workspace_id,
        command.kinds or USUAL_KINDS,
        reason=command.reason,
        now=known.now,
        note=command.note,
    )
    if any(token.kind is TokenKind.TICKET for token in gone):
        registrations.note_change(tx, command.workspace_id)
    return Ended(recording.revoked(known.workspace, gone, command.reason, command.note), gone)


def _stolen(tx: Connection, command: RevokeWorkspaceTokens, known: Known) -> Ended:
    """Revoke what `revoke_token` would for each token of these kinds; fence the workspace unless
    they are only api and proxy tokens.
    """
    tokens.lock_instance_tokens(tx, command.workspace_id)
    every = tokens.all_of(tx, command.workspace_id)
    kinds = command.kinds or USUAL_KINDS
    return fencing.condemn(
        tx,
        known,
        _reach(kinds, every, known),
        fence=bool(kinds & {TokenKind.INSTANCE, TokenKind.TICKET}),
        note=command.note,
    )


def _reach(kinds: frozenset[TokenKind], every: list[Token], known: Known) -> set[TokenId]:
    going: set[TokenId] = set()
    if kinds & {TokenKind.INSTANCE, TokenKind.TICKET}:
        going |= compromise.of_boxes(every, up_to=known.workspace.incarnation)
    for token in every:
        if token.kind not in kinds:
            continue
        if token.kind is TokenKind.API:
            # Dead ones count, too, because what was made with them may be live.
            taken = compromise.reach(token, every)
            closed = token.is_revoked() and token.revoke_reason not in REOPENING
            going |= taken - {token.token_id} if closed else taken
        elif token.kind in (TokenKind.PROXY, TokenKind.TICKET) and not token.is_revoked():
            going.add(token.token_id)
    return going
