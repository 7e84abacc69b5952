"""Every combination of state and evidence against the admission table, told a second time.

A `Case` names each fact by a word; the oracle below reads the table of design section 3 on
those words alone. It shares nothing with the code under test but the rows built for it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product
from typing import Any, Final, NamedTuple

import pytest

from agentworkspace.core.ids import RequestId, TenantId, TokenId, WorkspaceId
from agentworkspace.core.refusal import Recovery
from registry_service.domain.admission import decide
from registry_service.domain.admission_table import LINES
from registry_service.domain.standing import BootstrapPolicy, Standing, Workspace
from registry_service.domain.tokens import Outcome, RevokeReason, Token, TokenKind
from registry_service.domain.verdicts import Admitted, Denied, Keep, Mint, SameToken, Verdict

NOW: Final = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
HOME: Final = WorkspaceId("5b3c1c1e-0000-4000-8000-000000000001")
EVIDENCE_ENDS: Final = NOW + 90 * MINUTE
ELSEWHERE: Final = WorkspaceId("5b3c1c1e-0000-4000-8000-000000000002")
SAME_REQUEST: Final = RequestId("9f8d0000-0000-4000-8000-000000000001")
OTHER_REQUEST: Final = RequestId("9f8d0000-0000-4000-8000-000000000002")

DEATHS: Final = tuple(reason.value for reason in RevokeReason)
INSTANCE_STATES: Final = ("live", "expired", *DEATHS)


# Live ones cannot be unproven and matter here; dead ones can.
UNPROVEN_STATES: Final = ("unproven-live", "unproven-OPERATOR")
LEAVERS: Final = ("none", "api", "OPERATOR", "RELAUNCHED", "DEREGISTERED")


class Case(NamedTuple):
    launches: int  # 0 or 2
    registered: int
    fence: str  # none, COMPROMISED, SUSPENDED, both
    policy: str
    required: str  # nothing, a ticket, evidence
    left: bool
    bearer: str  # none, foreign, api, dead-api, or the state of an instance token
    bearer_of: int  # the incarnation of an instance bearer
    ticket: str  # none, foreign, older, replaced, current
    current: str  # absent, outstanding, redeemed, lapsed, void-unused, void-redeemed
    its_token: str  # of the presented redeemed ticket: absent, unused, unused-dead, used, used-dead
    other: str  # a second live token: none, used, lost (server-made), asked (client-made)
    wanted: str  # none, fresh, elsewhere, bearer, its_token, other
    again: bool  # with the request id of the lost answers


# The table, on words


def own_instance(c: Case) -> bool:
    return c.bearer in (*INSTANCE_STATES, *UNPROVEN_STATES)


def live_bearer(c: Case) -> bool:
    return c.bearer in ("live", "unproven-live")


def shows_current(c: Case) -> bool:
    """Void or not."""
    return c.ticket == "current"


def redeemed(c: Case) -> bool:
    return shows_current(c) and c.current == "redeemed"


def its_token_unused(c: Case) -> bool:
    return c.its_token in ("unused", "unused-dead")


def live_names(c: Case) -> set[str]:
    return (
        ({"bearer"} if live_bearer(c) else set())
        | ({"its_token"} if c.its_token in ("unused", "used") else set())
        | ({"other"} if c.other != "none" else set())
    )


def unused_names(c: Case) -> set[str]:
    """Live, and never used; each was minted by the request that `again` repeats."""
    return ({"its_token"} if c.its_token == "unused" else set()) | (
        {"other"} if c.other in ("lost", "asked") else set()
    )


def other_was_minted_on(c: Case) -> str:
    if own_instance(c) or c.bearer in ("api", "dead-api"):
        return "bearer"
    return "ticket" if c.ticket in ("older", "replaced", "current") else "nothing"


def older(c: Case) -> int | None:
    """The incarnation of the newest piece presented, if that is an earlier one."""
    found = [c.bearer_of] if own_instance(c) else []
    found += [1] if c.ticket == "older" else []
    found += [2] if c.ticket in ("current", "replaced") else []
    newest = max(found, default=None)
    return newest if newest is not None and newest < c.launches else None


def replays_by_evidence(c: Case) -> bool:
    if not c.again:
        return False
    recognised = own_instance(c) or c.bearer == "api"
    for name in unused_names(c):
        on = "ticket" if name == "its_token" else other_was_minted_on(c)
        holds = (on == "bearer" and recognised) or on == "ticket"
        shut = superseded(c) or fenced(c) or compromised(c) or newer_ticket(c)
        if holds and not shut and live_names(c) == {name}:
            return api_token(c) or ticket_redeemed(c) or own_token(c)
    return False


def live_token(c: Case) -> bool:
    return live_bearer(c)


def the_ticket(c: Case) -> bool:
    return shows_current(c) and c.current == "outstanding" and c.fence == "none"


def ticket_again(c: Case) -> bool:
    return redeemed(c) and its_token_unused(c) and c.fence == "none"


def replay(c: Case) -> bool:
    return (c.again and c.wanted in unused_names(c)) or replays_by_evidence(c)


def ticket_and_token(c: Case) -> bool:
    return redeemed(c) and c.wanted in live_names(c)


def superseded(c: Case) -> bool:
    of = older(c)
    return of is not None and c.registered > of


def fenced(c: Case) -> bool:
    return c.fence != "none"


def compromised(c: Case) -> bool:
    return c.bearer == "COMPROMISED"


def newer_ticket(c: Case) -> bool:
    return older(c) is not None and c.current == "outstanding"


def another_lives(c: Case) -> bool:
    return bool(live_names(c))


def api_token(c: Case) -> bool:
    return c.bearer == "api" and c.launches == 0 and c.required != "a ticket"


def ticket_redeemed(c: Case) -> bool:
    return redeemed(c)


def own_token(c: Case) -> bool:
    taken = c.bearer in ("OPERATOR", "RELAUNCHED")
    awaited = c.current == "outstanding"
    return taken and not awaited and not shows_current(c) and not c.left


def ticket_expired(c: Case) -> bool:
    return shows_current(c) and c.current == "lapsed"


def ticket_needed(c: Case) -> bool:
    return c.launches > 0


def open_door(c: Case) -> bool:
    return c.launches == 0


ORACLE: Final[dict[str, Callable[[Case], bool]]] = {
    "LIVE_TOKEN": live_token,
    "TICKET": the_ticket,
    "TICKET_AGAIN": ticket_again,
    "REPLAY": replay,
    "TICKET_AND_TOKEN": ticket_and_token,
    "SUPERSEDED": superseded,
    "FENCED": fenced,
    "COMPROMISED": compromised,
    "NEWER_TICKET": newer_ticket,
    "ANOTHER_LIVES": another_lives,
    "API_TOKEN": api_token,
    "TICKET_REDEEMED": ticket_redeemed,
    "OWN_TOKEN": own_token,
    "TICKET_EXPIRED": ticket_expired,
    "TICKET_NEEDED": ticket_needed,
    "OPEN_DOOR": open_door,
}

IN_USE: Final = "TOKEN_HASH_IN_USE FIX_REQUEST"


def minted(c: Case, outcome: str, incarnation: int, on: str, *, rotates: bool = False) -> str:
    if c.wanted not in ("none", "fresh"):
        return IN_USE
    ends = "replaces others"
    if rotates:
        ends = "ends " + ("other" if c.other in ("lost", "asked") else "nothing")
    spares = "bearer" if on == "bearer" and c.bearer != "api" else "nothing"
    redeems = " redeems" if on == "ticket" and c.current == "outstanding" else ""
    proof = "unproven" if on == "nothing" or c.bearer == "unproven-live" else "proven"
    ending = "till its evidence ends" if on == "bearer" else "without end"
    return (
        f"{outcome} mints {c.wanted} as {incarnation} on {on}, {proof}, {ending}, "
        f"{ends} but {spares}{redeems}"
    )


def answer_live_token(c: Case) -> str:
    if c.wanted in ("none", "bearer"):
        return "AUTHENTICATED keeps bearer"
    if c.wanted == "other" and c.other in ("lost", "asked"):
        return "AUTHENTICATED same other"
    return minted(c, "AUTHENTICATED", c.bearer_of, "bearer", rotates=True)


def answer_ticket_again(c: Case) -> str:
    if c.wanted == "its_token" and c.its_token == "unused":
        return "BOOTSTRAPPED same its_token"
    return minted(c, "BOOTSTRAPPED", 2, "ticket")


def answer_replay(c: Case) -> str:
    if c.wanted in unused_names(c):
        outcome = "BOOTSTRAPPED" if c.wanted == "its_token" else "RECOVERED"
        return f"{outcome} same {c.wanted}"
    if c.wanted != "none" or (c.other == "asked" and "other" in unused_names(c)):
        return "REQUEST_ID_REUSED FIX_REQUEST"
    if api_token(c):
        return minted(c, "RECOVERED", 0, "bearer")
    if ticket_redeemed(c):
        return minted(c, "RECOVERED", 2, "ticket")
    return minted(c, "RECOVERED", c.bearer_of, "bearer")


def answer(c: Case, line: str) -> str:
    """What the table says on this line."""
    missing = "MISSING" if c.bearer == "none" else "REJECTED"
    suspended = c.fence in ("SUSPENDED", "both")
    shut_out = "WORKSPACE_SUSPENDED STOP" if suspended else "TICKET_REQUIRED RELAUNCH"
    closed = "TICKET_REQUIRED RELAUNCH"
    opened = c.policy == "open" and c.current != "outstanding" and c.required != "a ticket"
    open_to_all = minted(c, "BOOTSTRAPPED", c.launches, "nothing")
    answers: dict[str, Callable[[], str]] = {
        "LIVE_TOKEN": lambda: answer_live_token(c),
        "TICKET": lambda: minted(c, "BOOTSTRAPPED", 2, "ticket"),
        "TICKET_AGAIN": lambda: answer_ticket_again(c),
        "REPLAY": lambda: answer_replay(c),
        "TICKET_AND_TOKEN": lambda: f"AUTHENTICATED same {c.wanted}",
        "SUPERSEDED": lambda: "INCARNATION_SUPERSEDED STOP",
        "FENCED": lambda: shut_out,
        "COMPROMISED": lambda: "BEARER_REJECTED RELAUNCH",
        "NEWER_TICKET": lambda: "INCARNATION_SUPERSEDED RETRY after 0:10:00",
        "ANOTHER_LIVES": lambda: f"BEARER_{missing} RELAUNCH",
        "API_TOKEN": lambda: minted(c, "RECOVERED", 0, "bearer"),
        "TICKET_REDEEMED": lambda: minted(c, "RECOVERED", 2, "ticket"),
        "OWN_TOKEN": lambda: minted(c, "RECOVERED", c.bearer_of, "bearer"),
        "TICKET_EXPIRED": lambda: open_to_all if opened else "TICKET_EXPIRED RELAUNCH",
        "TICKET_NEEDED": lambda: open_to_all if opened else closed,
        "OPEN_DOOR": lambda: (
            closed if c.policy == "strict" or c.required != "nothing" else open_to_all
        ),
    }
    return answers[line]()


# All cases


def asks(c: Case) -> Iterator[Case]:
    """What can be asked for, given the tokens that exist."""
    wanted = ["none", "fresh", "elsewhere"]
    wanted += ["bearer"] if own_instance(c) else []
    wanted += ["its_token"] if c.its_token != "absent" else []
    wanted += ["other"] if c.other != "none" else []
    for name in wanted:
        yield c._replace(wanted=name)
        if unused_names(c):
            yield c._replace(wanted=name, again=True)


def cases() -> Iterator[Case]:
    """Every combination of facts, before anything is asked for."""
    strangers = [(kind, 0) for kind in ("none", "foreign", "api", "dead-api")]
    never = [(0, 0, "absent", "absent", ticket) for ticket in ("none", "foreign")]
    states = ("outstanding", "redeemed", "lapsed", "void-unused", "void-redeemed")
    launched = [
        (2, registered, state, its_token, ticket)
        for registered, state in product((1, 2), states)
        for ticket in ("none", "foreign", "older", "replaced", "current")
        for its_token in (
            ("absent", "unused", "unused-dead", "used", "used-dead")
            if (ticket, state) == ("current", "redeemed")
            else ("absent",)
        )
    ]
    for launches, registered, current, its_token, ticket in never + launched:
        incarnations = (1, 2) if launches else (0,)
        bearers = strangers + list(product(INSTANCE_STATES, incarnations))
        bearers += list(product(UNPROVEN_STATES, incarnations))
        for fence, policy, required, left, (bearer, of), other in product(
            ("none", "COMPROMISED", "SUSPENDED", "both"),
            ("adaptive", "open", "strict"),
            ("nothing", "a ticket", "evidence"),
            (False, True),
            bearers,
            ("none", "used", "lost", "asked"),
        ):
            if registered < launches and of != 1 and ticket != "older":
                continue  # what has registered is asked of older evidence only: tested below
            if fence in ("SUSPENDED", "both") and (policy, required) != ("adaptive", "nothing"):
                continue  # a fence says the same whatever would open behind it
            if left and (fence != "none" or other == "used" or bearer not in LEAVERS):
                continue  # who has left is asked of one's own dead token only: tested below
            if required != "nothing" and (other == "used" or policy == "strict"):
                continue
            yield Case(
                *(launches, registered, fence, policy, required, left, bearer, of),
                *(ticket, current, its_token, other, "none", False),
            )


# The rows of a case


@cache
def row(
    name: str,
    kind: TokenKind,
    state: str,
    incarnation: int,
    *,
    on: str = "nothing",
    made: bool = False,
) -> Token:
    unproven = state.startswith("unproven-")
    state = state.removeprefix("unproven-")
    reason = RevokeReason(state) if state in DEATHS else None
    fresh = state in ("unused", "unused-dead", "outstanding", "lapsed", "void-unused")
    gone = reason or state in ("unused-dead", "used-dead", "void-unused", "void-redeemed")
    ends = NOW + 10 * MINUTE if kind is TokenKind.TICKET else None
    # An instance token that runs out one day, as one that an api token opened for.
    ends = EVIDENCE_ENDS if name == "bearer" else ends
    return Token(
        token_id=TokenId(name),
        workspace_id=ELSEWHERE if name in ("foreign", "elsewhere") else HOME,
        kind=kind,
        token_sha256=name.encode().ljust(32, b"."),
        incarnation=incarnation,
        create_time=NOW - 60 * MINUTE,
        expire_time=NOW if state in ("expired", "lapsed") else ends,
        unproven=unproven,
        first_use_time=None if fresh else NOW - 50 * MINUTE,
        revoke_time=NOW - MINUTE if gone else None,
        revoke_reason=reason or (RevokeReason.OPERATOR if gone else None),
        minted_on=None if on == "nothing" else TokenId(on),
        request_id=SAME_REQUEST,
        client_made=made,
        outcome=Outcome.BOOTSTRAPPED if name == "its_token" else Outcome.RECOVERED,
    )


def bearer_row(c: Case) -> Token | None:
    if own_instance(c):
        return row("bearer", TokenKind.INSTANCE, c.bearer, c.bearer_of)
    if c.bearer == "foreign":
        return row("foreign", TokenKind.INSTANCE, "live", c.launches)
    if c.bearer in ("api", "dead-api"):
        state = "live" if c.bearer == "api" else "OPERATOR"
        return row("bearer", TokenKind.API, state, 0)
    return None


def ticket_row(c: Case, current: Token | None) -> Token | None:
    if c.ticket == "older":
        return row("ticket", TokenKind.TICKET, "RELAUNCHED", 1)
    if c.ticket == "replaced":
        return row("ticket", TokenKind.TICKET, "ROTATED", 2)
    if c.ticket == "foreign":
        return row("foreign", TokenKind.TICKET, "outstanding", 2)
    return current if c.ticket == "current" else None


@cache
def home(c: tuple[int, int, str, str, bool]) -> Workspace:
    launches, registered, fence, required, left = c
    return Workspace(
        workspace_id=HOME,
        tenant_id=TenantId("acme"),
        incarnation=launches,
        registered_incarnation=registered,
        ticket_required=required == "a ticket",
        evidence_required=required == "evidence",
        suspended=fence in ("SUSPENDED", "both"),
        compromised=fence in ("COMPROMISED", "both"),
        left=left,
    )


def facts_of(c: Case) -> tuple[dict[str, Any], dict[str, Token]]:
    """Everything but what is asked for, and the rows that could be asked for by their hash."""
    named = "ticket" if c.ticket == "current" else "unseen"
    current = row(named, TokenKind.TICKET, c.current, 2) if c.current != "absent" else None
    instance = TokenKind.INSTANCE
    rows = {"elsewhere": row("elsewhere", instance, "live", 1)}
    bearer = bearer_row(c)
    if bearer:
        rows["bearer"] = bearer
    if c.its_token != "absent":
        rows["its_token"] = row("its_token", instance, c.its_token, 2, on="ticket")
    if c.other != "none":
        used = "live" if c.other == "used" else "unused"
        on, made = other_was_minted_on(c), c.other == "asked"
        rows["other"] = row("other", instance, used, c.launches, on=on, made=made)
    facts = {
        "workspace": home((c.launches, c.registered, c.fence, c.required, c.left)),
        "policy": BootstrapPolicy(c.policy),
        "now": NOW,
        "bearer_presented": c.bearer != "none",
        "bearer": bearer,
        "ticket_presented": c.ticket != "none",
        "ticket": ticket_row(c, current),
        "ticket_token": rows.get("its_token"),
        "current_ticket": current,
        "live_instance_tokens": tuple(rows[name] for name in live_names(c)),
    }
    return facts, rows


def standings() -> Iterator[tuple[Case, Standing]]:
    for state in cases():
        facts, rows = facts_of(state)
        for case in asks(state):
            owner = rows.get(case.wanted)
            fresh = b"fresh" if case.wanted == "fresh" else None
            yield (
                case,
                Standing(
                    token_sha256=owner.token_sha256 if owner else fresh,
                    hash_owner=owner,
                    request_id=SAME_REQUEST if case.again else OTHER_REQUEST,
                    **facts,
                ),
            )


def told(verdict: Verdict) -> str:
    """A verdict in the oracle's words."""
    if isinstance(verdict, Denied):
        after = f" after {verdict.retry_after}" if verdict.retry_after else ""
        return f"{verdict.reason} {verdict.recovery}{after}"
    act = verdict.act
    if isinstance(act, Keep):
        return f"{verdict.outcome} keeps {act.token.token_id}"
    if isinstance(act, SameToken):
        return f"{verdict.outcome} same {act.token.token_id}"
    assert (act.outcome, act.incarnation) == (verdict.outcome, verdict.incarnation)
    ends = "replaces others" if act.replace_others else f"ends {','.join(act.revoke) or 'nothing'}"
    assert act.expire_time in (None, EVIDENCE_ENDS)
    assert act.redeem_ticket in (None, act.minted_on)
    return (
        f"{verdict.outcome} mints {'fresh' if act.token_sha256 else 'none'} "
        f"as {act.incarnation} on {act.minted_on or 'nothing'}, "
        f"{'unproven' if act.unproven else 'proven'}, "
        f"{'till its evidence ends' if act.expire_time else 'without end'}, "
        f"{ends} but {act.replaces or 'nothing'}{' redeems' if act.redeem_ticket else ''}"
    )


Judged = tuple[Case, Standing, Verdict]


@pytest.fixture(scope="module")
def judged() -> list[Judged]:
    # A million objects that live until the end: the collector would walk them again and again.
    gc.disable()
    try:
        return [(case, facts, decide(facts)) for case, facts in standings()]
    finally:
        gc.freeze()
        gc.enable()


def mints(verdict: Verdict) -> bool:
    return isinstance(verdict, Admitted) and isinstance(verdict.act, Mint)


def test_exactly_one_line_answers_every_case_and_says_what_the_table_says(
    judged: list[Judged],
) -> None:
    answered = set()
    for case, _, verdict in judged:
        line = next(name for name, matches in ORACLE.items() if matches(case))
        assert (verdict.line, told(verdict)) == (line, answer(case, line)), case
        answered.add(line)
    assert len(judged) > 150_000
    assert answered == set(ORACLE)


def test_each_line_by_itself_matches_where_its_words_do(judged: list[Judged]) -> None:
    assert [line.name for line in LINES] == list(ORACLE)
    for place, line in enumerate(LINES):
        for case, facts, _ in judged[place % 7 :: 7]:
            assert (line.answer(facts) is not None) is ORACLE[line.name](case), (line.name, case)


def test_behind_a_fence_nobody_gets_a_token_but_who_lives(judged: list[Judged]) -> None:
    """And a fence leaves nobody alive: it ends them when it is set."""
    for case, _, verdict in judged:
        if case.fence != "none" and mints(verdict):
            assert verdict.line == "LIVE_TOKEN", case


def test_compromised_evidence_opens_nothing(judged: list[Judged]) -> None:
    for case, _, verdict in judged:
        if case.bearer == "COMPROMISED" and mints(verdict):
            assert shows_current(case), case
            assert verdict.line in ("TICKET", "TICKET_AGAIN"), case


def test_superseded_evidence_opens_nothing(judged: list[Judged]) -> None:
    for case, _, verdict in judged:
        if (superseded(case) or newer_ticket(case)) and not live_bearer(case):
            assert not mints(verdict), case


def test_nobody_is_admitted_past_a_used_live_token_except_with_the_newest_ticket(
    judged: list[Judged],
) -> None:
    for case, _, verdict in judged:
        used_lives = "used" in (case.other, case.its_token) and not live_bearer(case)
        if used_lives and mints(verdict):
            assert shows_current(case), case
            assert verdict.line in ("TICKET", "TICKET_AGAIN"), case


def test_stop_is_said_only_to_the_replaced_and_the_suspended(judged: list[Judged]) -> None:
    for case, _, verdict in judged:
        if isinstance(verdict, Denied) and verdict.recovery is Recovery.STOP:
            if case.fence not in ("SUSPENDED", "both"):
                assert not shows_current(case), case
                assert own_instance(case) or case.ticket == "older", case
            if verdict.line == "SUPERSEDED":
                assert not shows_current(case), case
                assert case.registered == case.launches == 2, case


def test_the_holder_of_the_newest_evidence_is_in_or_told_a_relaunch_or_suspended(
    judged: list[Judged],
) -> None:
    for case, _, verdict in judged:
        if not shows_current(case) or told(verdict) == IN_USE:
            continue
        if isinstance(verdict, Denied) and verdict.recovery is not Recovery.FIX_REQUEST:
            suspended = case.fence in ("SUSPENDED", "both")
            wanted = Recovery.STOP if suspended else Recovery.RELAUNCH
            assert verdict.recovery is wanted, case


def test_the_newest_ticket_always_gets_in(judged: list[Judged]) -> None:
    for case, _, verdict in judged:
        first = shows_current(case) and case.current == "outstanding"
        lost = redeemed(case) and its_token_unused(case)
        died = redeemed(case) and not live_names(case)
        if (first or lost or died) and case.fence == "none" and case.bearer != "COMPROMISED":
            assert isinstance(verdict, Admitted) or told(verdict) == IN_USE, case


def test_a_void_ticket_opens_nothing(judged: list[Judged]) -> None:
    """Only what is open to anybody, under the policy that says so, and unproven."""
    for case, _, verdict in judged:
        if shows_current(case) and case.current.startswith("void") and mints(verdict):
            assert case.policy == "open" or live_bearer(case), case
            assert "on ticket" not in told(verdict), case


def test_a_token_without_evidence_behind_it_is_unproven_and_so_is_what_comes_of_it(
    judged: list[Judged],
) -> None:
    for case, _, verdict in judged:
        if isinstance(verdict, Admitted) and isinstance(verdict.act, Mint):
            act = verdict.act
            of_unproven = act.minted_on == "bearer" and case.bearer.startswith("unproven")
            assert act.unproven is (act.minted_on is None or of_unproven), case
            if case.bearer == "unproven-OPERATOR":
                assert act.minted_on != "bearer", case


def test_nobody_gets_more_time_than_its_evidence_has(judged: list[Judged]) -> None:
    for case, _, verdict in judged:
        if isinstance(verdict, Admitted) and isinstance(verdict.act, Mint):
            by_token = verdict.act.minted_on == "bearer"
            assert (verdict.act.expire_time == EVIDENCE_ENDS) is by_token, case
            assert case.bearer != "expired" or not by_token, case


def test_a_box_that_left_comes_back_with_its_ticket_only(judged: list[Judged]) -> None:
    for case, facts, verdict in judged:
        if case.left and facts.workspace and case.bearer in ("OPERATOR", "RELAUNCHED"):
            assert not mints(verdict) or "on bearer" not in told(verdict), case
        elif facts.workspace and case.bearer not in ("OPERATOR", "RELAUNCHED"):
            stayed = replace(facts, workspace=replace(facts.workspace, left=not case.left))
            assert decide(stayed) == verdict, case


def test_a_mint_leaves_one_live_token_or_a_box_with_its_successor(judged: list[Judged]) -> None:
    for case, _, verdict in judged:
        if isinstance(verdict, Admitted) and isinstance(verdict.act, Mint):
            act = verdict.act
            assert act.replace_others is (verdict.line != "LIVE_TOKEN"), case
            survivor = live_bearer(case) and act.replaces == "bearer"
            assert survivor is (verdict.line == "LIVE_TOKEN"), case


def test_every_refusal_names_one_action_and_only_waiting_has_a_time(
    judged: list[Judged],
) -> None:
    for case, _, verdict in judged:
        if isinstance(verdict, Denied):
            assert (verdict.retry_after is not None) is (verdict.recovery is Recovery.RETRY), case


def test_a_token_of_another_workspace_counts_as_junk(judged: list[Judged]) -> None:
    for case, facts, verdict in judged[::3]:
        if case.bearer == "foreign":
            assert decide(replace(facts, bearer=None)) == verdict, case
        if case.ticket == "foreign":
            assert decide(replace(facts, ticket=None)) == verdict, case


def test_a_request_id_alone_opens_nothing(judged: list[Judged]) -> None:
    for case, facts, verdict in judged:
        nothing = case.bearer in ("none", "foreign") and case.ticket in ("none", "foreign")
        if nothing and case.again and case.wanted not in unused_names(case):
            without = decide(replace(facts, request_id=OTHER_REQUEST))
            assert told(without) == told(verdict), case


def test_a_bearer_given_up_or_taken_for_cause_opens_no_more_than_a_wrong_one(
    judged: list[Judged],
) -> None:
    for case, facts, verdict in judged:
        given_up = case.bearer in (
            *("ROTATED", "SUSPENDED", "REMOVED", "DEREGISTERED", "expired", "dead-api"),
        )
        if given_up and not redeemed(case) and case.ticket != "older" and mints(verdict):
            stranger = decide(replace(facts, bearer=None))
            assert told(stranger) == told(verdict), case


def test_what_has_registered_matters_to_older_evidence_only(judged: list[Judged]) -> None:
    for case, facts, verdict in judged[::11]:
        if facts.workspace and older(case) is None:
            none = replace(facts, workspace=replace(facts.workspace, registered_incarnation=0))
            assert decide(none) == verdict, case


def test_a_required_ticket_closes_what_is_open_to_anybody_also_after_a_launch(
    judged: list[Judged],
) -> None:
    for case, _, verdict in judged:
        if case.required == "a ticket" and mints(verdict) and not live_bearer(case):
            assert "on nothing" not in told(verdict), case
            assert case.bearer != "api" or case.launches, case


def test_required_evidence_closes_the_open_door_alone(judged: list[Judged]) -> None:
    for case, facts, verdict in judged[::5]:
        if case.required == "evidence" and facts.workspace and verdict.line != "OPEN_DOOR":
            free = replace(facts, workspace=replace(facts.workspace, evidence_required=False))
            assert decide(free) == verdict, case
        if case.required == "evidence" and verdict.line == "OPEN_DOOR":
            assert told(verdict) == "TICKET_REQUIRED RELAUNCH", case


def test_only_the_open_policy_admits_a_stranger_after_a_launch(judged: list[Judged]) -> None:
    for case, _, verdict in judged:
        if verdict.line in ("TICKET_EXPIRED", "TICKET_NEEDED", "OPEN_DOOR") and mints(verdict):
            assert case.policy != "strict", case
            assert case.policy == "open" or case.launches == 0, case
            assert not live_names(case), case
            assert case.fence == "none", case


def test_the_proxy_token_of_the_presented_ticket_is_no_hash_to_ask_for(
    judged: list[Judged],
) -> None:
    for case, facts, verdict in judged[::3]:
        if case.wanted == "fresh" and mints(verdict):
            taken = decide(replace(facts, proxy_sha256=facts.token_sha256))
            assert (taken.line, told(taken)) == (verdict.line, IN_USE), case
