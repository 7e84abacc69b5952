"""The verdicts of the admission table, and what must be written to carry them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agentworkspace.core.ids import RequestId, TokenId
from agentworkspace.core.refusal import AnyReason, Recovery, Refusal, SharedReason
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import Standing
from registry_service.domain.tokens import Outcome, Token, TokenKind


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing is minted: the bearer itself is the answer's token."""

    token: Token


@dataclass(frozen=True, slots=True)
class SameToken:
    """Nothing is minted or revoked: the box has this token's secret, so the answer has none."""

    token: Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Mint:
    """Insert one instance token, in one transaction with everything named here.

    With `replace_others`, every other instance token up to this incarnation but `replaces` is
    revoked as ROTATED. That includes expired ones; and those that were revoked as OPERATOR or
    RELAUNCHED become ROTATED, so that none of them lets anybody in again.
    Without it, only those in `revoke` are revoked.
    """

    incarnation: int
    outcome: Outcome
    # None: the server makes the secret, and the answer carries it.
    token_sha256: bytes | None
    request_id: RequestId | None
    minted_on: TokenId | None = None
    # The token to revoke as ROTATED at the first use of the new one; until then it stays as it is.
    replaces: TokenId | None = None
    # Write this ticket's first use.
    redeem_ticket: TokenId | None = None
    replace_others: bool = True
    revoke: tuple[TokenId, ...] = ()
    # The expiry of the token that was shown as evidence: the new one does not outlive it.
    expire_time: datetime | None = None
    # See `Token.unproven`.
    unproven: bool = False


Act = Keep | SameToken | Mint


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The box is let in as `incarnation`; `line` is the line of the table that decided so."""

    line: AdmissionLine
    outcome: Outcome
    act: Act
    incarnation: int
    # The bearer that this call uses. If this is its first use, that is written before the answer
    # leaves, and `used.dies_at_first_use()` is revoked.
    used: Token | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The box is refused; `line` is the line of the table that decided so."""

    line: AdmissionLine
    reason: AnyReason
    recovery: Recovery
    retry_after: timedelta | None = None
    # Replaces the usual sentence of the reason where more can be said.
    message: str = ""

    def words(self) -> str:
        return self.message or MESSAGES[self.reason]

    def refusal(self) -> Refusal:
        return Refusal(
            self.reason,
            self.words(),
            metadata={"line": self.line.value},
            retry_after=self.retry_after,
            recovery=self.recovery,
        )


Verdict = Admitted | Denied

MESSAGES: dict[AnyReason, str] = {
    SharedReason.WORKSPACE_UNKNOWN: "no such workspace here, or not yet",
    SharedReason.WORKSPACE_REMOVED: "the workspace was retired",
    SharedReason.WORKSPACE_SUSPENDED: (
        "the workspace is suspended; an admin lifts that by launching it for the reason RESUME"
    ),
    Reason.BEARER_MISSING: (
        "another token of this workspace is live, and none was presented; only the newest ticket "
        "or a new launch lets a box in past it"
    ),
    SharedReason.BEARER_REJECTED: (
        "the presented token opens nothing here any more; only the newest ticket or a new launch "
        "lets this box in"
    ),
    Reason.INCARNATION_SUPERSEDED: "a newer incarnation of the workspace was launched",
    Reason.TICKET_REQUIRED: "only the bootstrap ticket of a new launch admits here",
    Reason.TICKET_EXPIRED: "the bootstrap ticket expired before it was used; launch once more",
    SharedReason.TOKEN_HASH_IN_USE: "token_sha256 belongs to another token; make a new secret",
    SharedReason.REQUEST_ID_REUSED: "request_id was used with another token_sha256",
}


def relaunch(line: AdmissionLine, reason: AnyReason, message: str = "") -> Denied:
    return Denied(line=line, reason=reason, recovery=Recovery.RELAUNCH, message=message)


def same_token(line: AdmissionLine, outcome: Outcome, token: Token) -> Admitted:
    return Admitted(line=line, outcome=outcome, act=SameToken(token), incarnation=token.incarnation)


def mint(
    s: Standing,
    line: AdmissionLine,
    outcome: Outcome,
    incarnation: int,
    *,
    minted_on: Token | None,
    replaces: Token | None = None,
    redeem: Token | None = None,
    revoke: Sequence[Token] | None = None,
    used: Token | None = None,
) -> Verdict:
    """Mint, unless the wanted hash belongs to a token already: a hash is usable once, ever.

    `minted_on` None: no evidence stands behind the new token.
    """
    if s.token_sha256 is not None and (
        s.hash_owner is not None or s.token_sha256 == s.proxy_sha256
    ):
        return _hash_in_use(s, line)
    by_token = minted_on if minted_on and minted_on.kind is not TokenKind.TICKET else None
    act = Mint(
        incarnation=incarnation,
        outcome=outcome,
        token_sha256=s.token_sha256,
        request_id=s.request_id,
        minted_on=_id(minted_on),
        replaces=_id(replaces),
        redeem_ticket=_id(redeem),
        replace_others=revoke is None,
        revoke=tuple(token.token_id for token in revoke or ()),
        expire_time=by_token.expire_time if by_token else None,
        unproven=minted_on is None or minted_on.unproven,
    )
    return Admitted(line=line, outcome=outcome, act=act, incarnation=incarnation, used=used)


def _hash_in_use(s: Standing, line: AdmissionLine) -> Denied:
    """The refusal of a hash in use. A box that sent the hash of its own dead token is told so, for
    trying again would never help it.
    """
    owner, message = s.hash_owner, ""
    own = owner is not None and s.workspace and owner.workspace_id == s.workspace.workspace_id
    if owner and own and owner.revoke_reason and s.evidence():
        message = (
            f"token_sha256 is that of this workspace's own token, which was ended as "
            f"{owner.revoke_reason}; no token comes back to life: make a new secret"
        )
    return Denied(
        line=line,
        reason=SharedReason.TOKEN_HASH_IN_USE,
        recovery=Recovery.FIX_REQUEST,
        message=message,
    )


def _id(token: Token | None) -> TokenId | None:
    return token.token_id if token else None
