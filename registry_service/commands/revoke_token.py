"""RevokeToken: revokes one token, named by its id or by its own text."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import TokenId, WorkspaceId
from agentworkspace.core.secret import Secret
from registry_service.commands import evidence, fencing, grounds, recording
from registry_service.commands.fencing import Ended
from registry_service.commands.origin import Origin
from registry_service.domain import compromise
from registry_service.domain.tokens import RevokeReason, Token, TokenKind
from registry_service.storage import feed, registrations, revocation, tokens, workspaces
from registry_service.storage.store import Store
from registry_service.storage.workspaces import Known


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeToken:
    """Sent by `caller`, or, if that is None, by whoever holds the token, shown as `bearer`.

    The token is named by `token_id` and `workspace_id`, or by its own text, `token`; then
    `workspace_id` may be None. `reason`: OPERATOR or COMPROMISED.
    """

    origin: Origin
    caller: Caller | None
    bearer: Secret | None
    workspace_id: WorkspaceId | None
    token_id: TokenId | None = None
    token: Secret | None = None
    reason: RevokeReason
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedToken:
    workspace_id: WorkspaceId
    token_id: TokenId
    revision: int
    already_revoked: bool


@dataclass(frozen=True, slots=True)
class _Target:
    known: Known
    token: Token


def run(store: Store, command: RevokeToken) -> RevokedToken:
    """Refusals: WORKSPACE_UNKNOWN, TOKEN_UNKNOWN, TENANT_FORBIDDEN; of a bearer
    CREDENTIAL_REJECTED, ROLE_REQUIRED.
    """
    with store.transaction() as tx:
        target = _target(tx, command)
        workspace, token = target.known.workspace, target.token
        # A dead token cannot report itself stolen, because anybody may hold it by now.
        is_spent = command.caller is None and not token.is_live(target.known.now)
        stolen = command.reason is RevokeReason.COMPROMISED and not is_spent
        ended = _stolen(tx, command, target) if stolen else _taken(tx, command, target)
        origin = command.origin
        if command.caller is None:
            origin = replace(origin, actor=f"workspace:{workspace.workspace_id}")
        recording.record(tx, origin, ended.changes)
        news = recording.entries(workspace, ended.gone, command.reason)
        revision = recording.publish(tx, news) if news else feed.revision(tx)
        return RevokedToken(
            workspace_id=workspace.workspace_id,
            token_id=token.token_id,
            revision=revision,
            already_revoked=token.is_revoked(),
        )


def _taken(tx: Connection, command: RevokeToken, target: _Target) -> Ended:
    """Revoke this token only; its holder may come back."""
    known, token = target.known, target.token
    gone = revocation.revoke(
        tx, [token.token_id], reason=command.reason, now=known.now, note=command.note
    )
    if gone and token.kind is TokenKind.TICKET:
        registrations.note_change(tx, token.workspace_id)
    changes = recording.revoked(known.workspace, gone, command.reason, command.note)
    return Ended(changes, gone)


def _stolen(tx: Connection, command: RevokeToken, target: _Target) -> Ended:
    """Revoke it and all that its holder could have made with it, and fence the workspace if the
    token is of the newest launch.
    """
    known, token = target.known, target.token
    # From here on nobody can write a first use, which would end the token that it replaces.
    tokens.lock_instance_tokens(tx, token.workspace_id)
    going = compromise.reach(token, tokens.all_of(tx, token.workspace_id))
    fence = compromise.fences(token, known.workspace.incarnation)
    return fencing.condemn(tx, known, going, fence=fence, note=command.note)


def _target(tx: Connection, command: RevokeToken) -> _Target:
    """The token and its workspace, locked. Somebody without a credential of the platform is checked
    before anything is locked.
    """
    named = _named(tx, command)
    if command.caller is None:
        _require_itself(tx, command, named)
    workspace_id = named.workspace_id if named else command.workspace_id
    if workspace_id is None:
        raise grounds.token_unknown(command.token_id)
    known = workspaces.lock(tx, workspace_id)
    if command.caller is not None:
        _require_tenant(command.caller, known, command)
    if known is None:
        raise grounds.workspace_unknown(workspace_id)
    if named is None:
        raise grounds.token_unknown(command.token_id)
    # Read again, now under the lock.
    return _Target(known, tokens.present(tx, workspace_id, named.token_id).token)


def _require_tenant(caller: Caller, known: Known | None, command: RevokeToken) -> None:
    """Refusals: TENANT_FORBIDDEN; TOKEN_UNKNOWN for another tenant's token that was named by its
    text, so that whoever found it does not learn whose it is.
    """
    if command.token is not None and known and not caller.may_act_for(known.workspace.tenant_id):
        raise grounds.token_unknown(None)
    if command.workspace_id is not None:
        grounds.require_owner(caller, known, command.workspace_id)


def _named(tx: Connection, command: RevokeToken) -> Token | None:
    if command.token is not None:
        digest = evidence.hash_of(command.token)
        stored = tokens.by_hash(tx, digest) if digest else None
        if stored and command.workspace_id in (None, stored.token.workspace_id):
            return stored.token
        raise grounds.token_unknown(None)
    if command.workspace_id is None or command.token_id is None:
        raise AssertionError("parsed to name a token")
    stored = tokens.by_id(tx, command.workspace_id, command.token_id)
    return stored.token if stored else None


def _require_itself(tx: Connection, command: RevokeToken, named: Token | None) -> None:
    digest = evidence.hash_of(command.bearer)
    stored = tokens.by_hash(tx, digest) if digest else None
    if stored is None or stored.token.kind in (TokenKind.TICKET, TokenKind.PROXY):
        raise grounds.credential_rejected(recognised=stored is not None)
    if command.workspace_id not in (None, stored.token.workspace_id):
        raise grounds.credential_rejected(recognised=True)
    if named is None or named.token_id != stored.token.token_id:
        raise grounds.only_for_itself()
