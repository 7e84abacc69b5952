"""What an admission decides, and what the store must do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from agentworkspace.core.ids import RequestId, TokenId
from agentworkspace.core.refusal import AnyReason, Recovery, Refusal, SharedReason
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import Standing
from registry_service.domain.tokens import Outcome, Token


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing is minted: the bearer itself is the answer's token."""

    token: Token


@dataclass(frozen=True, slots=True)
class SameToken:
    """Nothing is minted or revoked: the box has the secret of this row already. No plaintext."""

    token: Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Mint:
    """Insert one instance token, in one transaction with everything named here.

    With `revoke_every_other`, every instance token of the workspace that is not yet revoked is
    revoked as ROTATED, expired ones too, except the new one and `replaces`; without it,
    only those in `revoke` are.
    """

    incarnation: int
    outcome: Outcome
    # None: the server makes the secret, and the answer carries it.
    token_sha256: bytes | None
    request_id: RequestId | None
    minted_on: TokenId | None = None
    # Lives on, if it lives, until the first use of the new token; then revoked as ROTATED.
    replaces: TokenId | None = None
    # Write this ticket's first use.
    redeem_ticket: TokenId | None = None
    revoke_every_other: bool = True
    revoke: tuple[TokenId, ...] = ()


Act = Keep | SameToken | Mint


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """`line` of the admission table let the box in, as `incarnation`."""

    line: int
    outcome: Outcome
    act: Act
    incarnation: int
    # The bearer this call is a use of; its first use is written before the answer leaves,
    # and takes `used.dies_at_first_use()` with it.
    used: Token | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """`line` of the admission table refused; line 0 speaks before the table."""

    line: int
    reason: AnyReason
    recovery: Recovery
    retry_after: timedelta | None = None

    def refusal(self) -> Refusal:
        return Refusal(
            self.reason,
            MESSAGES[self.reason],
            metadata={"line": str(self.line)},
            retry_after=self.retry_after,
            recovery=self.recovery,
        )


Verdict = Admitted | Denied

MESSAGES: dict[AnyReason, str] = {
    SharedReason.WORKSPACE_UNKNOWN: "no such workspace here, or not yet",
    SharedReason.WORKSPACE_REMOVED: "the workspace was retired",
    Reason.WORKSPACE_SUSPENDED: "the workspace was suspended; a new launch lifts that",
    Reason.BEARER_MISSING: "the workspace has a live instance token, and none was presented",
    SharedReason.BEARER_REJECTED: "the bearer shown is no live instance token of this workspace",
    Reason.INCARNATION_SUPERSEDED: "a newer incarnation of the workspace was launched",
    Reason.TICKET_REQUIRED: "only the bootstrap ticket of a new launch admits here",
    Reason.TICKET_EXPIRED: "the bootstrap ticket expired before it was used",
    SharedReason.TOKEN_HASH_IN_USE: "token_sha256 belongs to another token; make a new secret",
    SharedReason.REQUEST_ID_REUSED: "request_id was used with another token_sha256",
}


def relaunch(line: int, reason: AnyReason) -> Denied:
    return Denied(line=line, reason=reason, recovery=Recovery.RELAUNCH)


def same_token(line: int, outcome: Outcome, token: Token) -> Admitted:
    return Admitted(line=line, outcome=outcome, act=SameToken(token), incarnation=token.incarnation)


def mint(
    s: Standing,
    line: int,
    outcome: Outcome,
    incarnation: int,
    *,
    minted_on: Token | None = None,
    replaces: Token | None = None,
    redeem: Token | None = None,
    revoke: Sequence[Token] | None = None,
    used: Token | None = None,
) -> Verdict:
    """Mint, unless the wanted hash belongs to a token already: a hash is usable once, ever."""
    if s.token_sha256 is not None and s.hash_owner is not None:
        return Denied(
            line=line, reason=SharedReason.TOKEN_HASH_IN_USE, recovery=Recovery.FIX_REQUEST
        )
    act = Mint(
        incarnation=incarnation,
        outcome=outcome,
        token_sha256=s.token_sha256,
        request_id=s.request_id,
        minted_on=_id(minted_on),
        replaces=_id(replaces),
        redeem_ticket=_id(redeem),
        revoke_every_other=revoke is None,
        revoke=tuple(token.token_id for token in revoke or ()),
    )
    return Admitted(line=line, outcome=outcome, act=act, incarnation=incarnation, used=used)


def _id(token: Token | None) -> TokenId | None:
    return token.token_id if token else None
