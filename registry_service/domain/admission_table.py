"""The admission table of Register: read in order; the first line that matches answers.

Each line is one function with a stable name, by which answers, Diagnose, metrics and audit cite
it. Unknown and retired workspaces are refused before the table, in `admission.decide`. The README
of this service has the whole table in words.

*Current* is the ticket issued last for the newest launch; *older* evidence is of an earlier launch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from agentworkspace.core.refusal import AnyReason, Recovery, SharedReason
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import BootstrapPolicy, Fence, Standing
from registry_service.domain.tokens import REOPENING, Outcome, RevokeReason, Token
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
_Name = AdmissionLine


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table; `answer` is None where it does not match."""

    name: AdmissionLine
    title: str
    answer: Callable[[Standing], Verdict | None]


def first_answer(s: Standing, lines: Sequence[Line]) -> Verdict:
    """The verdict of the first line that matches. `lines` must end as the table does, where one
    always matches.
    """
    for line in lines:
        verdict = line.answer(s)
        if verdict is not None:
            return verdict
    raise AssertionError("the last two lines between them always answer")


def _live_token(s: Standing) -> Verdict | None:
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
            _Name.LIVE_TOKEN,
            Outcome.AUTHENTICATED,
            bearer.incarnation,
            minted_on=bearer,
            replaces=bearer,
            revoke=pending,
            used=bearer,
        )
    return Admitted(
        line=_Name.LIVE_TOKEN,
        outcome=Outcome.AUTHENTICATED,
        act=act,
        incarnation=bearer.incarnation,
        used=bearer,
    )


def _ticket(s: Standing) -> Verdict | None:
    ticket = s.presented_current()
    if ticket is None or not ticket.is_outstanding(s.now) or s.fenced():
        return None
    return mint(
        s,
        _Name.TICKET,
        Outcome.BOOTSTRAPPED,
        ticket.incarnation,
        minted_on=ticket,
        redeem=ticket,
    )


def _ticket_again(s: Standing) -> Verdict | None:
    ticket, token = s.redeemed(), s.token_of_ticket()
    if ticket is None or token is None or token.is_used() or s.fenced():
        return None
    if token.token_sha256 == s.token_sha256 and token.is_live(s.now):
        return same_token(_Name.TICKET_AGAIN, Outcome.BOOTSTRAPPED, token)
    return mint(s, _Name.TICKET_AGAIN, Outcome.BOOTSTRAPPED, ticket.incarnation, minted_on=ticket)


def _replay(s: Standing) -> Verdict | None:
    if s.request_id is None:
        return None
    unused = [
        token for token in s.live() if not token.is_used() and token.request_id == s.request_id
    ]
    same = _with_hash(unused, s.token_sha256)
    if same and same.outcome:
        return same_token(_Name.REPLAY, same.outcome, same)
    evidence = {token.token_id for token in s.evidence()}
    lost = next((token for token in unused if token.minted_on in evidence), None)
    return _replay_by_evidence(s, lost) if lost else None


def _replay_by_evidence(s: Standing, lost: Token) -> Verdict | None:
    """Answer again only if the evidence would let the box in if the lost token did not exist.

    Lines that let anybody in do not count: the new token must be minted on evidence.
    """
    others = tuple(token for token in s.live() if token.token_id != lost.token_id)
    before = replace(s, live_instance_tokens=others, token_sha256=None)
    again = first_answer(before, _AFTER_THE_REPLAYS)
    if not isinstance(again, Admitted) or not isinstance(again.act, Mint):
        return None
    if again.act.minted_on is None:
        return None
    if s.token_sha256 is not None or lost.client_made:
        return Denied(
            line=_Name.REPLAY, reason=SharedReason.REQUEST_ID_REUSED, recovery=Recovery.FIX_REQUEST
        )
    outcome = lost.outcome or again.outcome
    act = replace(again.act, outcome=outcome)
    return Admitted(line=_Name.REPLAY, outcome=outcome, act=act, incarnation=act.incarnation)


def _ticket_and_token(s: Standing) -> Verdict | None:
    if s.redeemed() is None:
        return None
    token = _with_hash(s.live(), s.token_sha256)
    return same_token(_Name.TICKET_AND_TOKEN, Outcome.AUTHENTICATED, token) if token else None


def _superseded(s: Standing) -> Verdict | None:
    older = s.older_evidence()
    if older is None or s.workspace is None or s.workspace.registered_incarnation <= older:
        return None
    return Denied(
        line=_Name.SUPERSEDED, reason=Reason.INCARNATION_SUPERSEDED, recovery=Recovery.STOP
    )


def _fenced(s: Standing) -> Verdict | None:
    if s.workspace is None or s.workspace.fence is None:
        return None
    if s.workspace.fence is Fence.SUSPENDED:
        return Denied(
            line=_Name.FENCED, reason=SharedReason.WORKSPACE_SUSPENDED, recovery=Recovery.STOP
        )
    return relaunch(_Name.FENCED, Reason.TICKET_REQUIRED, _AFTER_A_THEFT)


def _compromised(s: Standing) -> Verdict | None:
    bearer = s.own_instance()
    if bearer is None or bearer.revoke_reason is not RevokeReason.COMPROMISED:
        return None
    return relaunch(_Name.COMPROMISED, SharedReason.BEARER_REJECTED)


def _newer_ticket(s: Standing) -> Verdict | None:
    ticket = s.outstanding()
    if s.older_evidence() is None or ticket is None:
        return None
    left = ticket.expire_time - s.now if ticket.expire_time else RETRY_AT_LEAST
    return Denied(
        line=_Name.NEWER_TICKET,
        reason=Reason.INCARNATION_SUPERSEDED,
        recovery=Recovery.RETRY,
        retry_after=max(left, RETRY_AT_LEAST),
    )


def _another_lives(s: Standing) -> Verdict | None:
    if not s.live():
        return None
    return relaunch(_Name.ANOTHER_LIVES, bearer_reason(s), _API_PAST_A_BOX if s.live_api() else "")


def _api_token(s: Standing) -> Verdict | None:
    api = s.live_api()
    if api is None or s.workspace is None or s.workspace.incarnation > 0:
        return None
    if s.workspace.ticket_required:
        return None
    return mint(s, _Name.API_TOKEN, Outcome.RECOVERED, s.workspace.incarnation, minted_on=api)


def _ticket_redeemed(s: Standing) -> Verdict | None:
    ticket = s.redeemed()
    if ticket is None:
        return None
    return mint(s, _Name.TICKET_REDEEMED, Outcome.RECOVERED, ticket.incarnation, minted_on=ticket)


def _own_token(s: Standing) -> Verdict | None:
    bearer = s.own_instance()
    if bearer is None or bearer.revoke_reason not in REOPENING or bearer.is_expired(s.now):
        return None
    if bearer.unproven or s.outstanding() or s.presented_current():
        return None
    if s.workspace is None or s.workspace.left:
        return None
    # The old token is kept until the new one is used, so that a lost answer can be asked for again.
    return mint(
        s,
        _Name.OWN_TOKEN,
        Outcome.RECOVERED,
        bearer.incarnation,
        minted_on=bearer,
        replaces=bearer,
    )


def _ticket_expired(s: Standing) -> Verdict | None:
    ticket = s.presented_current()
    if ticket is None or ticket.is_used() or ticket.is_revoked():
        return None
    if not ticket.is_expired(s.now):
        return None
    return _as_the_policy_says(s, _Name.TICKET_EXPIRED, Reason.TICKET_EXPIRED)


def _ticket_needed(s: Standing) -> Verdict | None:
    if s.workspace is None or s.workspace.incarnation == 0:
        return None
    return _as_the_policy_says(s, _Name.TICKET_NEEDED, Reason.TICKET_REQUIRED)


def _as_the_policy_says(s: Standing, line: AdmissionLine, reason: AnyReason) -> Verdict:
    """Under the policy `open`, whoever knows the id is let in while no box lives; otherwise only a
    new launch helps.
    """
    if s.workspace is None:
        raise AssertionError("asked of a workspace only")
    opens = s.policy is BootstrapPolicy.OPEN and not s.workspace.ticket_required
    if opens and s.outstanding() is None:
        return mint(s, line, Outcome.BOOTSTRAPPED, s.workspace.incarnation, minted_on=None)
    return relaunch(line, reason, _API_AFTER_A_LAUNCH if s.live_api() else "")


def _open_door(s: Standing) -> Verdict | None:
    if s.workspace is None or s.workspace.incarnation > 0:
        return None
    required = s.workspace.ticket_required or s.workspace.evidence_required
    if required or s.policy is BootstrapPolicy.STRICT:
        return relaunch(_Name.OPEN_DOOR, Reason.TICKET_REQUIRED, _closed_door(s))
    return mint(s, _Name.OPEN_DOOR, Outcome.BOOTSTRAPPED, s.workspace.incarnation, minted_on=None)


def _closed_door(s: Standing) -> str:
    """What to say to a box that is launched from elsewhere, where nobody acts on RELAUNCH; empty
    for any other.
    """
    if s.workspace is None or s.workspace.ticket_required:
        return ""
    dead = s.dead_api()
    if dead is None:
        return _NO_EVIDENCE
    how = "was revoked" if dead.is_revoked() else "has run out"
    return f"the api token of this agent {how}; have an admin mint a new one and register with it"


def bearer_reason(s: Standing) -> AnyReason:
    """The reason for refusing somebody without a live instance token of the workspace."""
    return SharedReason.BEARER_REJECTED if s.bearer_presented else Reason.BEARER_MISSING


def _with_hash(tokens: Sequence[Token], token_sha256: bytes | None) -> Token | None:
    return next((token for token in tokens if token.token_sha256 == token_sha256), None)


_AFTER_A_THEFT: Final = (
    "a token of this launch was compromised, so that none of its tokens is accepted any more; "
    "launch once more"
)
_API_PAST_A_BOX: Final = (
    "an instance token of this workspace is live, and an api token lets no box in past it; use the "
    "live token, or have an admin revoke it as OPERATOR and register again"
)
_API_AFTER_A_LAUNCH: Final = (
    "the workspace was launched with a ticket, and from then on an api token registers nobody; "
    "only the bootstrap ticket of a new launch admits here"
)
_NO_EVIDENCE: Final = (
    "an id alone admits nobody here; register with the workspace's api token, or launch it"
)

LINES: Final = (
    Line(_Name.LIVE_TOKEN, "live instance token of this workspace", _live_token),
    Line(_Name.TICKET, "current ticket, outstanding, not fenced", _ticket),
    Line(
        _Name.TICKET_AGAIN,
        "current ticket, redeemed, its token never used, not fenced",
        _ticket_again,
    ),
    Line(_Name.REPLAY, "replay of an answer whose token was never used", _replay),
    Line(
        _Name.TICKET_AND_TOKEN,
        "current ticket, redeemed, token_sha256 of a live token",
        _ticket_and_token,
    ),
    Line(_Name.SUPERSEDED, "older evidence, a newer incarnation has registered", _superseded),
    Line(_Name.FENCED, "fenced", _fenced),
    Line(_Name.COMPROMISED, "own instance token revoked as COMPROMISED", _compromised),
    Line(_Name.NEWER_TICKET, "older evidence, a newer ticket outstanding", _newer_ticket),
    Line(_Name.ANOTHER_LIVES, "another instance token is live", _another_lives),
    Line(_Name.API_TOKEN, "live api token, no ticket ever issued", _api_token),
    Line(_Name.TICKET_REDEEMED, "current ticket, redeemed", _ticket_redeemed),
    Line(_Name.OWN_TOKEN, "own instance token, revoked from outside", _own_token),
    Line(_Name.TICKET_EXPIRED, "current ticket, expired unused", _ticket_expired),
    Line(_Name.TICKET_NEEDED, "a ticket outstanding or ever issued", _ticket_needed),
    Line(_Name.OPEN_DOOR, "no ticket ever issued", _open_door),
)
_AFTER_THE_REPLAYS: Final = LINES[5:]
