"""RotateToken: replaces an api token by a new one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import RequestId, TokenId, WorkspaceId
from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from registry_service.commands import evidence, grounds, recording
from registry_service.commands.issued import Issued, NewSecret
from registry_service.commands.issuing import Claim, Draft, Issuing
from registry_service.commands.origin import Origin
from registry_service.domain.refusals import Reason
from registry_service.domain.tokens import RevokeReason, Token, TokenKind
from registry_service.storage import revocation, token_uses, tokens, workspaces
from registry_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateToken:
    """Sent by `caller`, or, if that is None, by whoever holds the token, shown as `bearer`."""

    origin: Origin
    caller: Caller | None
    bearer: Secret | None
    workspace_id: WorkspaceId
    token_id: TokenId
    overlap: timedelta = timedelta(0)
    request_id: RequestId | None = None
    token_sha256: bytes | None = None


def run(store: Store, command: RotateToken, *, new_secret: NewSecret) -> Issued:
    """Refusals: TOKEN_UNKNOWN, TOKEN_KIND, TOKEN_NOT_LIVE, TOKEN_HASH_IN_USE, REQUEST_ID_REUSED,
    WORKSPACE_REMOVED, TENANT_FORBIDDEN; of a bearer CREDENTIAL_REJECTED, ROLE_REQUIRED.
    """
    with store.transaction() as tx:
        # Somebody without a credential is checked before anything is locked, and again after.
        _holder(tx, command)
        known = workspaces.lock(tx, command.workspace_id)
        holder = _holder(tx, command)
        if command.caller is not None:
            grounds.require_owner(command.caller, known, command.workspace_id)
        if known is None:
            raise grounds.token_unknown(command.token_id)
        if known.workspace.retired:
            raise grounds.workspace_removed(command.workspace_id)
        old = _rotatable(tx, command)
        request = Issuing(
            tx=tx,
            claim=_claim(command, holder),
            origin=command.origin,
            known=known,
            new_secret=new_secret,
        )
        replayed = request.replayed()
        if replayed:
            return request.finish(replayed)
        if not old.is_live(known.now):
            raise _not_live(command, by_itself=holder is not None)
        return _rotate(request, command, old)


def _holder(tx: Connection, command: RotateToken) -> TokenId | None:
    """The token that its holder rotates; None when a caller with a role does it.

    A token that was rotated out is accepted, because its holder may not have got the answer.
    """
    if command.caller is not None:
        return None
    presented = evidence.hash_of(command.bearer)
    stored = tokens.by_hash(tx, presented) if presented else None
    if stored is None or stored.token.workspace_id != command.workspace_id:
        raise grounds.credential_rejected(recognised=stored is not None)
    if stored.token.revoke_reason not in (None, RevokeReason.ROTATED):
        raise grounds.credential_rejected(recognised=True)
    if stored.token.token_id != command.token_id:
        raise grounds.only_for_itself()
    return stored.token.token_id


def _rotatable(tx: Connection, command: RotateToken) -> Token:
    stored = tokens.by_id(tx, command.workspace_id, command.token_id)
    if stored is None or stored.token.kind in (TokenKind.TICKET, TokenKind.PROXY):
        raise grounds.token_unknown(command.token_id)
    if stored.token.kind is not TokenKind.API:
        raise Refusal(
            Reason.TOKEN_KIND,
            "only api tokens rotate here; a box rotates by Register",
            metadata={"kind": stored.token.kind.value},
        )
    return stored.token


def _claim(command: RotateToken, holder: TokenId | None) -> Claim:
    by_role = command.caller.name if command.caller else ""
    return Claim(
        caller=f"token:{holder}" if holder else by_role,
        method="RotateToken",
        workspace_id=command.workspace_id,
        request_id=command.request_id,
        token_sha256=command.token_sha256,
        params={"token_id": command.token_id, "overlap": command.overlap},
    )


def _rotate(request: Issuing, command: RotateToken, old: Token) -> Issued:
    tx, workspace, now = request.tx, request.known.workspace, request.known.now
    # An earlier rotation with an overlap shortened the old token's life; its heir has the full one.
    heir = tokens.newest_heir(tx, old.token_id)
    draft = Draft(
        kind=TokenKind.API,
        label=old.label,
        scopes=tuple(old.scopes),
        expire_time=heir.token.expire_time if heir else old.expire_time,
        minted_on=old.token_id,
    )
    issued = request.fresh(draft)
    if command.caller is None:
        token_uses.mark_first_use(tx, [old.token_id], now)
    if command.overlap > timedelta(0):
        revocation.expire_by(tx, old.token_id, now + command.overlap)
    else:
        revocation.revoke(tx, [old.token_id], reason=RevokeReason.ROTATED, now=now)
    facts = {"replaces": old.token_id, "overlap_seconds": int(command.overlap.total_seconds())}
    rotated = recording.change(workspace, "token.rotated", issued.token.token_id, facts)
    recording.record(tx, command.origin, [rotated])
    # Needed with an overlap, too, because verifiers have cached a later expiry.
    recording.publish(tx, recording.entries(workspace, [old], RevokeReason.ROTATED))
    return issued


def _not_live(command: RotateToken, *, by_itself: bool) -> Refusal:
    if by_itself:
        return grounds.credential_rejected(recognised=True)
    return Refusal(
        Reason.TOKEN_NOT_LIVE,
        "the token was revoked or has expired",
        metadata={"token_id": command.token_id},
    )
