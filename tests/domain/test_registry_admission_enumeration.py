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
from registry_service.domain.standing import BootstrapPolicy, Fence, Standing, Workspace
from registry_service.domain.tokens import Outcome, RevokeReason, Token, TokenKind
from registry_service.domain.verdicts import Admitted, Denied, Keep, Mint, SameToken, Verdict

NOW: Final = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
HOME: Final = WorkspaceId("5b3c1c1e-0000-4000-8000-000000000001")
ELSEWHERE: Final = WorkspaceId("5b3c1c1e-0000-4000-8000-000000000002")
SAME_REQUEST: Final = RequestId("9f8d0000-0000-4000-8000-000000000001")
OTHER_REQUEST: Final = RequestId("9f8d0000-0000-4000-8000-000000000002")

DEATHS: Final = tuple(reason.value for reason in RevokeReason)
INSTANCE_STATES: Final = ("live", "expired", *DEATHS)


class Case(NamedTuple):
    launches: int  # 0 or 2
    registered: int
    fence: str  # none, COMPROMISED, SUSPENDED
    policy: str
    required: bool
    bearer: str  # none, foreign, api, dead-api, or the state of an instance token
    bearer_of: int  # the incarnation of an instance bearer
    ticket: str  # none, foreign, older, replaced, current
    current: str  # absent, outstanding, redeemed, lapsed, void
    its_token: str  # of the presented redeemed ticket: absent, unused, unused-dead, used, used-dead
    other: str  # a second live token: none, used, lost (server-made), asked (client-made)
    wanted: str  # none, fresh, elsewhere, bearer, its_token, other
    again: bool  # with the request id of the lost answers


# The table, on words


def own_instance(c: Case) -> bool:
    return c.bearer in INSTANCE_STATES


def shows_current(c: Case) -> bool:
    return c.ticket == "current" and c.current != "void"


def redeemed(c: Case) -> bool:
    return shows_current(c) and c.current == "redeemed"


def its_token_unused(c: Case) -> bool:
    return c.its_token in ("unused", "unused-dead")


def live_names(c: Case) -> set[str]:
    return (
        ({"bearer"} if c.bearer == "live" else set())
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
    """The newest incarnation of older evidence."""
    if shows_current(c):
        return None
    found = [c.bearer_of] if own_instance(c) and c.bearer_of < c.launches else []
    found += [1] if c.ticket == "older" else []
    return max(found, default=None)


def replays_by_evidence(c: Case) -> bool:
    if not c.again:
        return False
    recognised = own_instance(c) or c.bearer == "api"
    for name in unused_names(c):
        on = "ticket" if name == "its_token" else other_was_minted_on(c)
        holds = (on == "bearer" and recognised) or on == "ticket"
        stays_shut = line_6(c) or line_7(c) or line_8(c) or live_names(c) != {name}
        if holds and not stays_shut and not line_10(c):
            return line_11(c) or line_12(c) or line_13(c)
    return False


def line_1(c: Case) -> bool:
    return c.bearer == "live"


def line_2(c: Case) -> bool:
    return shows_current(c) and c.current == "outstanding"


def line_3(c: Case) -> bool:
    return redeemed(c) and its_token_unused(c) and c.fence == "none"


def line_4(c: Case) -> bool:
    return (c.again and c.wanted in unused_names(c)) or replays_by_evidence(c)


def line_5(c: Case) -> bool:
    return redeemed(c) and c.wanted in live_names(c)


def line_6(c: Case) -> bool:
    return c.bearer == "COMPROMISED"


def line_7(c: Case) -> bool:
    of = older(c)
    return of is not None and c.registered > of


def line_8(c: Case) -> bool:
    return older(c) is not None and c.current == "outstanding"


def line_9(c: Case) -> bool:
    return bool(live_names(c))


def line_10(c: Case) -> bool:
    return c.fence != "none"


def line_11(c: Case) -> bool:
    return c.bearer == "api" and c.launches == 0 and not c.required


def line_12(c: Case) -> bool:
    return redeemed(c)


def line_13(c: Case) -> bool:
    return c.bearer in ("expired", "OPERATOR", "RELAUNCHED") and c.current != "outstanding"


def line_14(c: Case) -> bool:
    return shows_current(c) and c.current == "lapsed"


def line_15(c: Case) -> bool:
    return c.launches > 0


def line_16(c: Case) -> bool:
    return c.launches == 0


ORACLE: Final[tuple[Callable[[Case], bool], ...]] = (
    *(line_1, line_2, line_3, line_4, line_5, line_6, line_7, line_8),
    *(line_9, line_10, line_11, line_12, line_13, line_14, line_15, line_16),
)

IN_USE: Final = "TOKEN_HASH_IN_USE FIX_REQUEST"


def minted(c: Case, outcome: str, incarnation: int, on: str, *, rotates: bool = False) -> str:
    if c.wanted not in ("none", "fresh"):
        return IN_USE
    ends = "every other"
    if rotates:
        ends = "other" if c.other in ("lost", "asked") else "nothing"
    replaces = "bearer" if on == "bearer" and c.bearer != "api" else "nothing"
    redeems = " redeems" if on == "ticket" and c.current == "outstanding" else ""
    return (
        f"{outcome} mints {c.wanted} as {incarnation} on {on}, "
        f"replaces {replaces}, revokes {ends}{redeems}"
    )


def answer_1(c: Case) -> str:
    if c.wanted in ("none", "bearer"):
        return "AUTHENTICATED keeps bearer"
    if c.wanted == "other" and c.other in ("lost", "asked"):
        return "AUTHENTICATED same other"
    return minted(c, "AUTHENTICATED", c.bearer_of, "bearer", rotates=True)


def answer_3(c: Case) -> str:
    if c.wanted == "its_token" and c.its_token == "unused":
        return "BOOTSTRAPPED same its_token"
    return minted(c, "BOOTSTRAPPED", 2, "ticket")


def answer_4(c: Case) -> str:
    if c.wanted in unused_names(c):
        outcome = "BOOTSTRAPPED" if c.wanted == "its_token" else "RECOVERED"
        return f"{outcome} same {c.wanted}"
    if c.wanted != "none" or (c.other == "asked" and "other" in unused_names(c)):
        return "REQUEST_ID_REUSED FIX_REQUEST"
    if line_11(c):
        return minted(c, "RECOVERED", 0, "bearer")
    if line_12(c):
        return minted(c, "RECOVERED", 2, "ticket")
    return minted(c, "RECOVERED", c.bearer_of, "bearer")


def answer(c: Case, line: int) -> str:
    """What the table says on this line."""
    missing = "MISSING" if c.bearer == "none" else "REJECTED"
    fenced = "WORKSPACE_SUSPENDED STOP" if c.fence == "SUSPENDED" else "TICKET_REQUIRED RELAUNCH"
    closed = "TICKET_REQUIRED RELAUNCH"
    opened = c.policy == "open" and c.current != "outstanding"
    answers: dict[int, Callable[[], str]] = {
        1: lambda: answer_1(c),
        2: lambda: minted(c, "BOOTSTRAPPED", 2, "ticket"),
        3: lambda: answer_3(c),
        4: lambda: answer_4(c),
        5: lambda: f"AUTHENTICATED same {c.wanted}",
        6: lambda: "BEARER_REJECTED RELAUNCH",
        7: lambda: "INCARNATION_SUPERSEDED STOP",
        8: lambda: "INCARNATION_SUPERSEDED RETRY after 0:10:00",
        9: lambda: f"BEARER_{missing} RELAUNCH",
        10: lambda: fenced,
        11: lambda: minted(c, "RECOVERED", 0, "bearer"),
        12: lambda: minted(c, "RECOVERED", 2, "ticket"),
        13: lambda: minted(c, "RECOVERED", c.bearer_of, "bearer"),
        14: lambda: "TICKET_EXPIRED RELAUNCH",
        15: lambda: minted(c, "BOOTSTRAPPED", 2, "nothing") if opened else closed,
        16: lambda: (
            closed
            if c.policy == "strict" or c.required
            else minted(c, "BOOTSTRAPPED", 0, "nothing")
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
    states = ("outstanding", "redeemed", "lapsed", "void")
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
        for fence, policy, required, (bearer, of), other in product(
            ("none", "COMPROMISED", "SUSPENDED"),
            ("adaptive", "open", "strict"),
            (False, True) if launches == 0 else (False,),
            bearers,
            ("none", "used", "lost", "asked"),
        ):
            if registered < launches and of != 1 and ticket != "older":
                continue  # what has registered is asked of older evidence only: tested below
            yield Case(
                *(launches, registered, fence, policy, required, bearer, of),
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
    reason = RevokeReason(state) if state in DEATHS else None
    fresh = state in ("unused", "unused-dead", "outstanding", "lapsed")
    gone = reason or state in ("unused-dead", "used-dead", "void")
    ticket_ends = NOW + 10 * MINUTE if kind is TokenKind.TICKET else None
    return Token(
        token_id=TokenId(name),
        workspace_id=ELSEWHERE if name in ("foreign", "elsewhere") else HOME,
        kind=kind,
        token_sha256=name.encode().ljust(32, b"."),
        incarnation=incarnation,
        create_time=NOW - 60 * MINUTE,
        expire_time=NOW if state in ("expired", "lapsed") else ticket_ends,
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
def home(c: tuple[int, int, str, bool]) -> Workspace:
    launches, registered, fence, required = c
    return Workspace(
        workspace_id=HOME,
        tenant_id=TenantId("acme"),
        incarnation=launches,
        registered_incarnation=registered,
        ticket_required=required,
        fence=None if fence == "none" else Fence(fence),
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
        "workspace": home((c.launches, c.registered, c.fence, c.required)),
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
    ends = "every other" if act.revoke_every_other else ",".join(act.revoke) or "nothing"
    assert act.redeem_ticket in (None, act.minted_on)
    return (
        f"{verdict.outcome} mints {'fresh' if act.token_sha256 else 'none'} "
        f"as {act.incarnation} on {act.minted_on or 'nothing'}, "
        f"replaces {act.replaces or 'nothing'}, "
        f"revokes {ends}{' redeems' if act.redeem_ticket else ''}"
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
        line = next(number for number, matches in enumerate(ORACLE, 1) if matches(case))
        assert (verdict.line, told(verdict)) == (line, answer(case, line)), case
        answered.add(line)
    assert len(judged) > 150_000
    assert answered == set(range(1, 17))


def test_each_line_by_itself_matches_where_its_words_do(judged: list[Judged]) -> None:
    for line, matches in zip(LINES, ORACLE, strict=True):
        for case, facts, _ in judged[line.number % 7 :: 7]:
            assert (line.answer(facts) is not None) is matches(case), (line.number, case)


def test_behind_a_fence_only_the_newest_ticket_and_the_living_get_a_token(
    judged: list[Judged],
) -> None:
    for case, _, verdict in judged:
        if case.fence != "none" and mints(verdict):
            assert verdict.line in (1, 2), case


def test_compromised_evidence_opens_nothing(judged: list[Judged]) -> None:
    for case, _, verdict in judged:
        if case.bearer == "COMPROMISED" and mints(verdict):
            assert shows_current(case), case
            assert verdict.line in (2, 3), case


def test_superseded_evidence_opens_nothing(judged: list[Judged]) -> None:
    for case, _, verdict in judged:
        if (line_7(case) or line_8(case)) and case.bearer != "live":
            assert not mints(verdict), case


def test_nobody_is_admitted_past_a_used_live_token_except_with_the_newest_ticket(
    judged: list[Judged],
) -> None:
    for case, _, verdict in judged:
        used_lives = "used" in (case.other, case.its_token) and case.bearer != "live"
        if used_lives and mints(verdict):
            assert shows_current(case), case
            assert verdict.line in (2, 3), case


def test_stop_is_said_only_to_the_replaced_and_the_suspended(judged: list[Judged]) -> None:
    for case, _, verdict in judged:
        if isinstance(verdict, Denied) and verdict.recovery is Recovery.STOP:
            if case.fence != "SUSPENDED":
                assert not shows_current(case), case
                assert own_instance(case) or case.ticket == "older", case
            if verdict.line == 7:
                assert not shows_current(case), case
                assert case.registered == case.launches == 2, case


def test_the_newest_ticket_always_gets_in(judged: list[Judged]) -> None:
    for case, _, verdict in judged:
        first = shows_current(case) and case.current == "outstanding"
        lost = redeemed(case) and its_token_unused(case) and case.fence == "none"
        died = redeemed(case) and not live_names(case) and case.fence == "none"
        if (first or lost or died or case.bearer == "live") and case.bearer != "COMPROMISED":
            assert isinstance(verdict, Admitted) or told(verdict) == IN_USE, case


def test_a_mint_leaves_one_live_token_or_a_box_with_its_successor(judged: list[Judged]) -> None:
    for case, _, verdict in judged:
        if isinstance(verdict, Admitted) and isinstance(verdict.act, Mint):
            act = verdict.act
            assert act.revoke_every_other is (verdict.line != 1), case
            survivor = case.bearer == "live" and act.replaces == "bearer"
            assert survivor is (verdict.line == 1), case


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
        given_up = case.bearer in ("ROTATED", "SUSPENDED", "REMOVED", "dead-api")
        if given_up and not redeemed(case) and mints(verdict):
            stranger = decide(replace(facts, bearer=None))
            assert told(stranger) == told(verdict), case


def test_what_has_registered_matters_to_older_evidence_only(judged: list[Judged]) -> None:
    for case, facts, verdict in judged[::11]:
        if facts.workspace and older(case) is None:
            none = replace(facts, workspace=replace(facts.workspace, registered_incarnation=0))
            assert decide(none) == verdict, case


def test_after_a_launch_it_no_longer_matters_that_a_ticket_was_required_from_birth(
    judged: list[Judged],
) -> None:
    for case, facts, verdict in judged[::11]:
        if case.launches and facts.workspace:
            born = replace(facts, workspace=replace(facts.workspace, ticket_required=True))
            assert decide(born) == verdict, case


def test_only_the_open_policy_admits_a_stranger_after_a_launch(judged: list[Judged]) -> None:
    for case, _, verdict in judged:
        if verdict.line in (15, 16) and mints(verdict):
            assert case.policy != "strict", case
            assert case.policy == "open" or case.launches == 0, case
            assert not live_names(case), case
            assert case.fence == "none", case
