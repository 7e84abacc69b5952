"""Issuing a token once, however often the request for it arrives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from agentworkspace.core.ids import RequestId, TokenId, WorkspaceId
from agentworkspace.core.secret import Secret
from registry_service.commands import grounds, recording
from registry_service.commands.issued import Delivery, Issued, NewSecret
from registry_service.commands.origin import Origin
from registry_service.domain.standing import Workspace
from registry_service.domain.tokens import (
    RevokeReason,
    Token,
    TokenKind,
    display_prefix,
    token_sha256,
)
from registry_service.storage import requests, revocation, tokens
from registry_service.storage.requests import Answered, RequestKey
from registry_service.storage.tokens import NewToken


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who asks for exactly what. `params` hold everything that makes the request what it is."""

    caller: str
    method: str
    workspace_id: WorkspaceId
    request_id: RequestId | None
    token_sha256: bytes | None
    params: Mapping[str, object]

    def key(self) -> RequestKey | None:
        if self.request_id is None:
            return None
        return RequestKey(
            caller=self.caller,
            method=self.method,
            workspace_id=self.workspace_id,
            request_id=self.request_id,
        )

    def digest(self) -> bytes:
        wanted = self.token_sha256.hex() if self.token_sha256 else None
        content = [self.method, wanted, sorted(self.params.items())]
        return hashlib.sha256(json.dumps(content, default=_as_json).encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The token to be, without its secret."""

    kind: TokenKind
    label: str = ""
    scopes: tuple[str, ...] = ()
    incarnation: int = 0
    expire_time: datetime | None = None
    minted_on: TokenId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    issued: Issued
    # The token that was replaced because its secret got lost; to be published as revoked.
    lost: Token | None

    @property
    def replaced(self) -> bool:
        """A fresh secret took the place of the first one."""
        return self.issued.delivery is Delivery.ENCLOSED


def earlier_answer(tx: Connection, claim: Claim) -> Answered | None:
    """What this request_id was answered. Refusal REQUEST_ID_REUSED for other parameters."""
    key = claim.key()
    answered = requests.find(tx, key) if key else None
    if key and answered and answered.params_digest != claim.digest():
        raise grounds.request_id_reused(key.request_id)
    return answered


def earlier_token(tx: Connection, claim: Claim) -> Token | None:
    """The token this request got before, found by request_id or by hash.

    Refusals: REQUEST_ID_REUSED, TOKEN_HASH_IN_USE.
    """
    answered = earlier_answer(tx, claim)
    if answered:
        token_id = TokenId(answered.result["token_id"])
        return tokens.present(tx, claim.workspace_id, token_id).token
    if claim.token_sha256 is None:
        return None
    owner = tokens.by_hash(tx, claim.token_sha256)
    if owner is None:
        return None
    mine = owner.token.workspace_id == claim.workspace_id and owner.created_by == claim.caller
    if not mine or owner.issue_digest != claim.digest():
        raise grounds.token_hash_in_use()
    return owner.token


def fresh(
    tx: Connection, claim: Claim, draft: Draft, *, now: datetime, new_secret: NewSecret
) -> Issued:
    """Store the token and remember the request. Refusal TOKEN_HASH_IN_USE."""
    token, secret = store(tx, claim, draft, now=now, new_secret=new_secret)
    remember(tx, claim, {"token_id": token.token_id}, now=now)
    return _issued(token, secret)


def store(
    tx: Connection, claim: Claim, draft: Draft, *, now: datetime, new_secret: NewSecret
) -> tuple[Token, Secret | None]:
    secret = None if claim.token_sha256 else new_secret(draft.kind)
    new = NewToken(
        workspace_id=claim.workspace_id,
        kind=draft.kind,
        token_sha256=claim.token_sha256 or token_sha256(secret.reveal() if secret else ""),
        prefix=display_prefix(secret.reveal()) if secret else "",
        label=draft.label,
        scopes=tuple(sorted(set(draft.scopes))),
        incarnation=draft.incarnation,
        create_time=now,
        expire_time=draft.expire_time,
        minted_on=draft.minted_on,
        client_made=secret is None,
        request_id=claim.request_id,
        created_by=claim.caller,
        issue_digest=claim.digest(),
    )
    token = tokens.insert(tx, new)
    if token is None:
        raise grounds.token_hash_in_use()
    return token, secret


def remember(tx: Connection, claim: Claim, result: Mapping[str, object], *, now: datetime) -> None:
    key = claim.key()
    if key:
        requests.write(tx, key, params_digest=claim.digest(), result=result, now=now)


def again(
    tx: Connection, claim: Claim, token: Token, *, now: datetime, new_secret: NewSecret
) -> Replayed:
    """Answer once more. A server-made secret nobody ever used counts as lost and is replaced."""
    if token.client_made:
        return Replayed(issued=_issued(token, None), lost=None)
    if token.is_live(now) and not token.is_used():
        replaced = replace_lost(tx, claim, token, now=now, new_secret=new_secret)
        if replaced:
            return replaced
    delivered = Issued(token=token, plaintext=None, delivery=Delivery.ALREADY_DELIVERED)
    return Replayed(issued=delivered, lost=None)


def replace_lost(
    tx: Connection,
    claim: Claim,
    token: Token,
    *,
    now: datetime,
    new_secret: NewSecret,
    expire_time: datetime | None = None,
) -> Replayed | None:
    """None when its first use came first: then it was not lost after all. One that is revoked
    already, and never used, is replaced as it is.
    """
    lost = revocation.revoke(
        tx, [token.token_id], reason=RevokeReason.ROTATED, now=now, only_unused=True
    )
    if not lost and not token.is_revoked():
        return None
    draft = Draft(
        kind=token.kind,
        label=token.label,
        scopes=tuple(token.scopes),
        incarnation=token.incarnation,
        expire_time=expire_time or token.expire_time,
        minted_on=token.minted_on,
    )
    replacement, secret = store(tx, claim, draft, now=now, new_secret=new_secret)
    key, answered = claim.key(), earlier_answer(tx, claim)
    if key and answered:
        result = dict(answered.result) | {"token_id": replacement.token_id}
        requests.rewrite(tx, key, result)
    return Replayed(issued=_issued(replacement, secret), lost=next(iter(lost), None))


def note(tx: Connection, origin: Origin, workspace: Workspace, replayed: Replayed) -> None:
    """The audit of a replay that replaced a lost token."""
    if replayed.replaced:
        changes = recording.revoked(
            workspace,
            [replayed.lost] if replayed.lost else [],
            RevokeReason.ROTATED,
            "lost before its first use",
        )
        changes.append(recording.minted(workspace, replayed.issued.token))
        recording.record(tx, origin, changes)


def finish(tx: Connection, origin: Origin, workspace: Workspace, replayed: Replayed) -> None:
    """As `note`, and the lost token's place in the feed; last."""
    note(tx, origin, workspace, replayed)
    if replayed.lost:
        news = recording.entries(workspace, [replayed.lost], RevokeReason.ROTATED)
        recording.publish(tx, news)


def expiry(now: datetime, ttl: timedelta | None) -> datetime | None:
    return None if ttl is None else now + ttl


def scopes_as_param(scopes: Sequence[str]) -> list[str]:
    """Neither order nor repetition makes a request another one."""
    return sorted(set(scopes))


def _issued(token: Token, secret: Secret | None) -> Issued:
    delivery = Delivery.CALLER_MADE if secret is None else Delivery.ENCLOSED
    return Issued(token=token, plaintext=secret, delivery=delivery)


def _as_json(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else str(value)
