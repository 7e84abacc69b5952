"""Issues one token for one request, however often that request arrives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from agentworkspace.core.ids import RequestId, TokenId, WorkspaceId
from agentworkspace.core.secret import Secret
from registry_service.commands import grounds, recording
from registry_service.commands.issued import Delivery, Issued, NewSecret
from registry_service.commands.origin import Origin
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
from registry_service.storage.workspaces import Known


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who asks for exactly what. `params` has every field that tells one request from another."""

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
        return hashlib.sha256(_ENCODER.encode(content).encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A token that is to be issued, without its secret."""

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
        """Whether a fresh secret took the place of the first one."""
        return self.issued.delivery is Delivery.ENCLOSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuing:
    """One request for a token, in the transaction that answers it; the workspace is locked."""

    tx: Connection
    claim: Claim
    origin: Origin
    known: Known
    new_secret: NewSecret

    def earlier_answer(self) -> Answered | None:
        """How this request_id was answered before; None if it was not, or there is none. Refusal
        REQUEST_ID_REUSED if its parameters were others.
        """
        key = self.claim.key()
        answered = requests.find(self.tx, key) if key else None
        if key and answered and answered.params_digest != self.claim.digest():
            raise grounds.request_id_reused(key.request_id)
        return answered

    def replayed(self) -> Replayed | None:
        """The answer to a request that was answered before, found by request_id or by hash.

        Refusals: REQUEST_ID_REUSED, TOKEN_HASH_IN_USE.
        """
        token = self._earlier_token()
        return None if token is None else self._again(token)

    def fresh(self, draft: Draft) -> Issued:
        """Store the token and remember the request. Refusal TOKEN_HASH_IN_USE."""
        token, secret = self.store(draft)
        self.remember({"token_id": token.token_id})
        return _issued(token, secret)

    def store(self, draft: Draft) -> tuple[Token, Secret | None]:
        claim = self.claim
        secret = None if claim.token_sha256 else self.new_secret(draft.kind)
        new = NewToken(
            workspace_id=claim.workspace_id,
            kind=draft.kind,
            token_sha256=claim.token_sha256 or token_sha256(secret.reveal() if secret else ""),
            prefix=display_prefix(secret.reveal()) if secret else "",
            label=draft.label,
            scopes=tuple(sorted(set(draft.scopes))),
            incarnation=draft.incarnation,
            create_time=self.known.now,
            expire_time=draft.expire_time,
            minted_on=draft.minted_on,
            client_made=secret is None,
            request_id=claim.request_id,
            created_by=claim.caller,
            issue_digest=claim.digest(),
        )
        token = tokens.insert(self.tx, new)
        if token is None:
            raise grounds.token_hash_in_use()
        return token, secret

    def remember(self, result: Mapping[str, object]) -> None:
        key = self.claim.key()
        if key:
            digest = self.claim.digest()
            requests.write(self.tx, key, params_digest=digest, result=result, now=self.known.now)

    def replace_lost(self, token: Token, *, expire_time: datetime | None = None) -> Replayed | None:
        """Revoke the token, whose secret got lost, and issue another in its place. None when it was
        used meanwhile, so that it was not lost after all. One that is revoked already is replaced,
        too.
        """
        reason = RevokeReason.ROTATED
        lost = revocation.revoke(
            self.tx, [token.token_id], reason=reason, now=self.known.now, only_unused=True
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
        replacement, secret = self.store(draft)
        key, answered = self.claim.key(), self.earlier_answer()
        if key and answered:
            result = dict(answered.result) | {"token_id": replacement.token_id}
            requests.rewrite(self.tx, key, result)
        return Replayed(issued=_issued(replacement, secret), lost=next(iter(lost), None))

    def note(self, replayed: Replayed) -> None:
        """Write the audit, if this replay replaced a lost token."""
        if replayed.replaced:
            lost = [replayed.lost] if replayed.lost else []
            workspace, why = self.known.workspace, "lost before its first use"
            changes = recording.revoked(workspace, lost, RevokeReason.ROTATED, why)
            changes.append(recording.minted(workspace, replayed.issued.token))
            recording.record(self.tx, self.origin, changes)

    def finish(self, replayed: Replayed) -> Issued:
        """The same as `note`, and publish the lost token's end. Must be the last statement of the
        transaction.
        """
        self.note(replayed)
        if replayed.lost:
            reason = RevokeReason.ROTATED
            news = recording.entries(self.known.workspace, [replayed.lost], reason)
            recording.publish(self.tx, news)
        return replayed.issued

    def _earlier_token(self) -> Token | None:
        claim, answered = self.claim, self.earlier_answer()
        if answered:
            token_id = TokenId(answered.result["token_id"])
            return tokens.present(self.tx, claim.workspace_id, token_id).token
        owner = tokens.by_hash(self.tx, claim.token_sha256) if claim.token_sha256 else None
        if owner is None:
            return None
        mine = owner.token.workspace_id == claim.workspace_id and owner.created_by == claim.caller
        if not mine or owner.issue_digest != claim.digest():
            raise grounds.token_hash_in_use()
        return owner.token

    def _again(self, token: Token) -> Replayed:
        """A server-made secret that nobody ever used counts as lost and is replaced."""
        if token.client_made:
            return Replayed(issued=_issued(token, None), lost=None)
        if token.is_live(self.known.now) and not token.is_used():
            replaced = self.replace_lost(token)
            if replaced:
                return replaced
        delivered = Issued(token=token, plaintext=None, delivery=Delivery.ALREADY_DELIVERED)
        return Replayed(issued=delivered, lost=None)


def expiry(now: datetime, ttl: timedelta | None) -> datetime | None:
    return None if ttl is None else now + ttl


def scopes_as_param(scopes: Sequence[str]) -> list[str]:
    """The scopes, sorted and without duplicates, so that neither makes two requests differ."""
    return sorted(set(scopes))


def _issued(token: Token, secret: Secret | None) -> Issued:
    delivery = Delivery.CALLER_MADE if secret is None else Delivery.ENCLOSED
    return Issued(token=token, plaintext=secret, delivery=delivery)


def _as_json(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else str(value)


# Made once: json.dumps with options makes an encoder of its own for every call.
_ENCODER: Final = json.JSONEncoder(default=_as_json)
