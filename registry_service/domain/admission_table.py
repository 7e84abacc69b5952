"""The admission table of Register: sixteen lines, read in order; the first match answers.

Each line is one function, so that an answer can be cited by number and title, as Diagnose
does. What precedes the table (unknown, retired) is in `admission.decide`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from agentworkspace.core.refusal import AnyReason, Recovery, SharedReason
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import BootstrapPolicy, Fence, Standing
from registry_service.domain.tokens import Outcome, RevokeReason, Token
from registry_service.domain.verdicts import (
    Admitted,
    Denied,
    Keep,
    Mint,
    SameToken,
    Verdict,
    mint,
    relaunch,
    same_token,
)

RETRY_AT_LEAST: Final = timedelta(seconds=1)
# A token that died of one of these was taken from its holder by a relaunch or an operator;
# it was neither given up for another one nor stolen.
REOPENING: Final = frozenset({RevokeReason.OPERATOR, RevokeReason.RELAUNCHED})


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table; `answer` is None where it does not match."""

    number: int
    title: str
    answer: Callable[[Standing], Verdict | None]


def first_answer(s: Standing, lines: Sequence[Line]) -> Verdict:
    for line in lines:
        verdict = line.answer(s)
        if verdict is not None:
            return verdict
    raise AssertionError("lines 15 and 16 between them always answer")


def _live_bearer(s: Standing) -> Verdict | None:
    bearer = s.live_instance()
    if bearer is None:
        return None
    wanted = s.token_sha256
    pending = s.never_used(bearer.token_id)
    if wanted is None or wanted == bearer.token_sha256:
        act: Keep | SameToken = Keep(bearer)
    elif same := _with_hash(pending, wanted):
        act = SameToken(same)
    else:
        return mint(
            s,
            1,
            Outcome.AUTHENTICATED,
            bearer.incarnation,
            minted_on=bearer,
            replaces=bearer,
            revoke=pending,
            used=bearer,
        )
    return Admitted(
        line=1,
        outcome=Outcome.AUTHENTICATED,
        act=act,
        incarnation=bearer.incarnation,
        used=bearer,
    )


def _ticket_outstanding(s: Standing) -> Verdict | None:
    ticket = s.presented_current()
    if ticket is None or not ticket.is_outstanding(s.now):
        return None
    return mint(s, 2, Outcome.BOOTSTRAPPED, ticket.incarnation, minted_on=ticket, redeem=ticket)


def _ticket_again(s: Standing) -> Verdict | None:
    ticket, token = s.redeemed(), s.token_of_ticket()
    if ticket is None or token is None or token.is_used() or s.fenced():
        return None
    if token.token_sha256 == s.token_sha256 and token.is_live(s.now):
        return same_token(3, Outcome.BOOTSTRAPPED, token)
    return mint(s, 3, Outcome.BOOTSTRAPPED, ticket.incarnation, minted_on=ticket)


def _lost_answer(s: Standing) -> Verdict | None:
    if s.request_id is None:
        return None
    unused = [
        token for token in s.live() if not token.is_used() and token.request_id == s.request_id
    ]
    same = _with_hash(unused, s.token_sha256)
    if same and same.outcome:
        return same_token(4, same.outcome, same)
    evidence = {token.token_id for token in s.evidence()}
    lost = next((token for token in unused if token.minted_on in evidence), None)
    return _replay_by_evidence(s, lost) if lost else None


def _replay_by_evidence(s: Standing, lost: Token) -> Verdict | None:
    """Answer again only if the evidence would open the door were the lost token not there.

    A door that is open to anybody (lines 15 and 16) does not count.
    """
    others = tuple(token for token in s.live() if token.token_id != lost.token_id)
    before = replace(s, live_instance_tokens=others, token_sha256=None)
    again = first_answer(before, LINES[5:])  # from line 6 on
    if not isinstance(again, Admitted) or not isinstance(again.act, Mint):
        return None
    if again.act.minted_on is None:
        return None
    if s.token_sha256 is not None or lost.client_made:
        return Denied(line=4, reason=SharedReason.REQUEST_ID_REUSED, recovery=Recovery.FIX_REQUEST)
    outcome = lost.outcome or again.outcome
    act = replace(again.act, outcome=outcome)
    return Admitted(line=4, outcome=outcome, act=act, incarnation=act.incarnation)


def _ticket_and_live_hash(s: Standing) -> Verdict | None:
    if s.redeemed() is None:
        return None
    token = _with_hash(s.live(), s.token_sha256)
    return same_token(5, Outcome.AUTHENTICATED, token) if token else None


def _compromised(s: Standing) -> Verdict | None:
    bearer = s.own_instance()
    if bearer is None or bearer.revoke_reason is not RevokeReason.COMPROMISED:
        return None
    return Denied(line=6, reason=SharedReason.BEARER_REJECTED, recovery=Recovery.RELAUNCH)


def _superseded(s: Standing) -> Verdict | None:
    older = s.older_evidence()
    if older is None or s.workspace is None or s.workspace.registered_incarnation <= older:
        return None
    return Denied(line=7, reason=Reason.INCARNATION_SUPERSEDED, recovery=Recovery.STOP)


def _newer_outstanding(s: Standing) -> Verdict | None:
    ticket = s.outstanding()
    if s.older_evidence() is None or ticket is None:
        return None
    left = ticket.expire_time - s.now if ticket.expire_time else RETRY_AT_LEAST
    return Denied(
        line=8,
        reason=Reason.INCARNATION_SUPERSEDED,
        recovery=Recovery.RETRY,
        retry_after=max(left, RETRY_AT_LEAST),
    )


def _another_lives(s: Standing) -> Verdict | None:
    if not s.live():
        return None
    return Denied(line=9, reason=bearer_reason(s), recovery=Recovery.RELAUNCH)


def _fence(s: Standing) -> Verdict | None:
    if not s.fenced():
        return None
    if s.workspace and s.workspace.fence is Fence.SUSPENDED:
        return Denied(line=10, reason=Reason.WORKSPACE_SUSPENDED, recovery=Recovery.STOP)
    return relaunch(10, Reason.TICKET_REQUIRED)


def _api_before_any_ticket(s: Standing) -> Verdict | None:
    api = s.live_api()
    if api is None or s.workspace is None or s.workspace.incarnation > 0:
        return None
    if s.workspace.ticket_required:
        return None
    return mint(s, 11, Outcome.RECOVERED, s.workspace.incarnation, minted_on=api)


def _ticket_redeemed(s: Standing) -> Verdict | None:
    ticket = s.redeemed()
    if ticket is None:
        return None
    return mint(s, 12, Outcome.RECOVERED, ticket.incarnation, minted_on=ticket)


def _own_dead_bearer(s: Standing) -> Verdict | None:
    bearer = s.own_instance()
    if bearer is None or s.outstanding():
        return None
    if bearer.is_revoked():
        if bearer.revoke_reason not in REOPENING:
            return None
    elif not bearer.is_expired(s.now):
        return None
    # The evidence outlives the answer, so that a lost one can be asked for again.
    return mint(s, 13, Outcome.RECOVERED, bearer.incarnation, minted_on=bearer, replaces=bearer)


def _ticket_expired(s: Standing) -> Verdict | None:
    ticket = s.presented_current()
    if ticket is None or ticket.is_used() or not ticket.is_expired(s.now):
        return None
    return relaunch(14, Reason.TICKET_EXPIRED)


def _after_a_ticket(s: Standing) -> Verdict | None:
    if s.workspace is None or s.workspace.incarnation == 0:
        return None
    if s.policy is BootstrapPolicy.OPEN and s.outstanding() is None:
        return mint(s, 15, Outcome.BOOTSTRAPPED, s.workspace.incarnation)
    return relaunch(15, Reason.TICKET_REQUIRED)


def _before_any_ticket(s: Standing) -> Verdict | None:
    if s.workspace is None or s.workspace.incarnation > 0:
        return None
    closed = s.policy is BootstrapPolicy.STRICT
    if closed or s.workspace.ticket_required:
        return relaunch(16, Reason.TICKET_REQUIRED)
    return mint(s, 16, Outcome.BOOTSTRAPPED, s.workspace.incarnation)


def bearer_reason(s: Standing) -> AnyReason:
    """How to say that no live instance token of the workspace was presented."""
    return SharedReason.BEARER_REJECTED if s.bearer_presented else Reason.BEARER_MISSING


def _with_hash(tokens: Sequence[Token], token_sha256: bytes | None) -> Token | None:
    return next((token for token in tokens if token.token_sha256 == token_sha256), None)


LINES: Final = (
    Line(1, "live instance token of this workspace", _live_bearer),
    Line(2, "current ticket, outstanding", _ticket_outstanding),
    Line(3, "current ticket, redeemed, its token never used, not fenced", _ticket_again),
    Line(4, "replay of an answer whose token was never used", _lost_answer),
    Line(5, "current ticket, redeemed, token_sha256 of a live token", _ticket_and_live_hash),
    Line(6, "own instance token revoked as COMPROMISED", _compromised),
    Line(7, "older evidence, a newer incarnation has registered", _superseded),
    Line(8, "older evidence, a newer ticket outstanding", _newer_outstanding),
    Line(9, "another instance token is live", _another_lives),
    Line(10, "fenced", _fence),
    Line(11, "live api token, no ticket ever issued", _api_before_any_ticket),
    Line(12, "current ticket, redeemed", _ticket_redeemed),
    Line(13, "own instance token, expired or revoked from outside", _own_dead_bearer),
    Line(14, "current ticket, expired unused", _ticket_expired),
    Line(15, "a ticket outstanding or ever issued", _after_a_ticket),
    Line(16, "no ticket ever issued", _before_any_ticket),
)
