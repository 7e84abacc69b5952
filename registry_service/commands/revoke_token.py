"""RevokeToken: one token, with a receipt."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import TokenId, WorkspaceId
from agentworkspace.core.secret import Secret
from registry_service.commands import evidence, fencing, grounds, recording
from registry_service.commands.fencing import FENCES
from registry_service.commands.origin import Origin
from registry_service.domain.admission_table import REOPENING
from registry_service.domain.tokens import RevokeReason, Token, TokenKind
from registry_service.storage import feed, revocation, tokens, workspaces
from registry_service.storage.audit import Change
from registry_service.storage.store import Store
from registry_service.storage.workspaces import Known


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeToken:
    """By `caller`, or, when that is None, by the token itself, shown as `bearer`."""

    origin: Origin
    caller: Caller | None
    bearer: Secret | None
    workspace_id: WorkspaceId
    token_id: TokenId
    reason: RevokeReason = RevokeReason.OPERATOR
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedToken:
    revision: int
    already_revoked: bool


def run(store: Store, command: RevokeToken) -> RevokedToken:
    """Refusals: WORKSPACE_UNKNOWN, TOKEN_UNKNOWN, TENANT_FORBIDDEN; of a bearer
    CREDENTIAL_REJECTED, ROLE_REQUIRED, INVALID_REQUEST (a reason only an admin may give).
    """
    with store.transaction() as connection:
        known = _authorized(connection, command)
        stored = tokens.by_id(connection, command.workspace_id, command.token_id)
        if stored is None or stored.token.kind is TokenKind.TICKET:
            raise grounds.token_unknown(command.token_id)
        token = stored.token
        changes = _condemned(connection, command, known, token) if token.is_revoked() else []
        if token.is_revoked() and not changes:
            return RevokedToken(revision=feed.revision(connection), already_revoked=True)
        gone = revocation.revoke(
            connection,
            _going(connection, command, token),
            reason=command.reason,
            now=known.now,
            note=command.note,
        )
        changes += recording.revoked(known.workspace, gone, command.reason, command.note)
        # What an earlier launch left behind fences no later one: that would have lifted it.
        if not token.is_revoked() or gone or token.incarnation == known.workspace.incarnation:
            changes += fencing.raise_fence(connection, known.workspace, command.reason)
        recording.record(connection, command.origin, changes)
        news = recording.entries(known.workspace, gone, command.reason)
        return RevokedToken(
            revision=recording.publish(connection, news), already_revoked=token.is_revoked()
        )


def _condemned(
    connection: Connection, command: RevokeToken, known: Known, token: Token
) -> list[Change]:
    """One that was only taken from its holder, and would let it in again, turns out stolen."""
    if command.reason is not RevokeReason.COMPROMISED:
        return []
    worse = revocation.condemn(
        connection, token.token_id, reason=command.reason, milder=REOPENING, note=command.note
    )
    return (
        recording.revoked(known.workspace, [token], command.reason, command.note) if worse else []
    )


def _going(connection: Connection, command: RevokeToken, token: Token) -> list[TokenId]:
    """The token; and of a stolen or suspended one whatever its holder may have made with it.

    While an instance token lives, that is every instance token of the workspace: which of them
    the box made and which the thief, nobody can tell.
    """
    going = {token.token_id}
    if command.reason in FENCES:
        going |= {*tokens.living_offspring(connection, token.token_id)}
        if token.kind is TokenKind.INSTANCE and not token.is_revoked():
            going |= {*tokens.lock_instance_tokens(connection, command.workspace_id)}
    return sorted(going)


def _authorized(connection: Connection, command: RevokeToken) -> Known:
    """The workspace, locked. A token is looked at before it may lock anything."""
    if command.caller is None:
        _require_itself(connection, command)
    known = workspaces.lock(connection, command.workspace_id)
    if command.caller is not None:
        grounds.require_owner(command.caller, known, command.workspace_id)
    if known is None:
        raise grounds.workspace_unknown(command.workspace_id)
    return known


def _require_itself(connection: Connection, command: RevokeToken) -> None:
    presented = evidence.hash_of(command.bearer)
    stored = tokens.by_hash(connection, presented) if presented else None
    if stored is None or stored.token.workspace_id != command.workspace_id:
        raise grounds.credential_rejected()
    if stored.token.kind is TokenKind.TICKET:
        raise grounds.credential_rejected()
    if stored.token.token_id != command.token_id:
        raise grounds.only_for_itself()
    if command.reason not in (RevokeReason.OPERATOR, RevokeReason.COMPROMISED):
        raise grounds.invalid("reason", "a token may give OPERATOR or COMPROMISED only")
