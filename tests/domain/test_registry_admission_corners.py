"""Corners of the admission table: facts that meet seldom, and what is decided when they do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agentworkspace.core.ids import RequestId, TenantId, TokenId
from agentworkspace.core.refusal import AnyReason, Recovery, SharedReason
from registry_service.domain.admission import NextAction, decide, evidence_recognised, next_action
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.admission_table import LINES, Line
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import BootstrapPolicy, Standing, Workspace
from registry_service.domain.tokens import Outcome, RevokeReason, Token, TokenKind
from registry_service.domain.verdicts import Admitted, Denied, Mint, Verdict
from tests.domain.test_registry_admission import (
    FIRST_TRY,
    FRESH,
    HOME,
    LAUNCHED,
    LINE,
    NOW,
    RUNNING,
    asking_for,
    dead,
    redeemed,
    standing,
    ticket,
    token,
    unused,
    workspace,
)


def denied(verdict: Verdict) -> tuple[AdmissionLine, AnyReason, Recovery]:
    assert isinstance(verdict, Denied), verdict
    return verdict.line, verdict.reason, verdict.recovery


def minted(verdict: Verdict) -> Mint:
    assert isinstance(verdict, Admitted), verdict
    assert isinstance(verdict.act, Mint), verdict
    return verdict.act


MEETS_A_LIVE_TOKEN = (AdmissionLine.ANOTHER_LIVES, SharedReason.BEARER_REJECTED, Recovery.RELAUNCH)


class TestRotationByALiveBearer:
    def test_it_is_a_use_of_the_bearer(self) -> None:
        bearer = token("a", incarnation=2)
        verdict = decide(standing(RUNNING, bearer=bearer, token_sha256=FRESH))
        assert isinstance(verdict, Admitted)
        assert (verdict.line, verdict.used) == (AdmissionLine.LIVE_TOKEN, bearer)

    def test_it_ends_the_successors_that_nobody_used_and_no_others(self) -> None:
        bearer = token("a", incarnation=2)
        beside = (
            unused("b", minted_on="a"),
            token("c", minted_on="a"),
            unused("d", minted_on="elsewhere"),
        )
        act = minted(decide(standing(RUNNING, bearer=bearer, live=beside, token_sha256=FRESH)))
        assert (act.revoke, act.replace_others) == (("b",), False)


class TestTickets:
    def test_the_unused_token_of_an_older_ticket_is_no_way_back_in(self) -> None:
        first = dead("a", RevokeReason.RELAUNCHED, first_use_time=None, minted_on="t")
        older = ticket("t", 1, first_use_time=NOW, revoke_time=NOW)
        verdict = decide(
            standing(RUNNING, presents=older, current_ticket=redeemed("u", 2), ticket_token=first)
        )
        assert denied(verdict) == (
            AdmissionLine.SUPERSEDED,
            Reason.INCARNATION_SUPERSEDED,
            Recovery.STOP,
        )

    def test_a_void_ticket_does_not_say_that_it_came_too_late(self) -> None:
        void = ticket("t", 2, expire_time=NOW, revoke_time=NOW)
        verdict = decide(standing(RUNNING, presents=void))
        assert denied(verdict) == (
            AdmissionLine.TICKET_NEEDED,
            Reason.TICKET_REQUIRED,
            Recovery.RELAUNCH,
        )

    def test_a_token_without_its_ticket_is_no_token_of_a_ticket(self) -> None:
        assert standing(RUNNING, ticket_token=unused("a")).token_of_ticket() is None

    def test_an_api_token_brings_nobody_in_from_the_first_launch_on(self) -> None:
        at = workspace(incarnation=1)
        verdict = decide(standing(at, bearer=token("p", TokenKind.API)))
        assert denied(verdict) == (
            AdmissionLine.TICKET_NEEDED,
            Reason.TICKET_REQUIRED,
            Recovery.RELAUNCH,
        )


class TestLostAnswers:
    def test_two_absent_request_ids_are_not_the_same(self) -> None:
        made = unused("a", request_id=None, client_made=True)
        verdict = decide(standing(live=(made,), **asking_for(made)))
        assert denied(verdict) == (
            AdmissionLine.ANOTHER_LIVES,
            Reason.BEARER_MISSING,
            Recovery.RELAUNCH,
        )

    def test_an_answer_is_given_again_to_the_evidence_it_was_given_to(self) -> None:
        bearer = dead("a", RevokeReason.OPERATOR)
        lost = unused("b", minted_on="somebody else", request_id=FIRST_TRY)
        verdict = decide(standing(bearer=bearer, live=(lost,), request_id=FIRST_TRY))
        assert denied(verdict) == MEETS_A_LIVE_TOKEN

    def test_the_hash_of_another_token_is_another_hash(self) -> None:
        bearer = dead("a", RevokeReason.OPERATOR)
        lost = unused("b", minted_on="a", request_id=FIRST_TRY)
        verdict = decide(
            standing(bearer=bearer, live=(lost,), request_id=FIRST_TRY, **asking_for(bearer))
        )
        assert denied(verdict) == (
            AdmissionLine.REPLAY,
            SharedReason.REQUEST_ID_REUSED,
            Recovery.FIX_REQUEST,
        )

    def test_a_compromised_bearer_gets_none_whatever_it_brings(self) -> None:
        bearer = dead("a", RevokeReason.COMPROMISED, incarnation=2, minted_on="t")
        lost = unused("b", minted_on="a", request_id=FIRST_TRY)
        verdict = decide(
            standing(
                RUNNING,
                bearer=bearer,
                presents=redeemed("t", 2),
                ticket_token=bearer,
                live=(lost,),
                request_id=FIRST_TRY,
            )
        )
        assert denied(verdict) == (
            AdmissionLine.COMPROMISED,
            SharedReason.BEARER_REJECTED,
            Recovery.RELAUNCH,
        )

    @pytest.mark.parametrize(
        ("said", "says"),
        [(Outcome.BOOTSTRAPPED, Outcome.BOOTSTRAPPED), (None, Outcome.RECOVERED)],
    )
    def test_it_says_what_was_said_first(self, said: Outcome | None, says: Outcome) -> None:
        bearer = dead("a", RevokeReason.OPERATOR, incarnation=2)
        lost = unused("b", minted_on="a", request_id=FIRST_TRY, outcome=said)
        verdict = decide(standing(RUNNING, bearer=bearer, live=(lost,), request_id=FIRST_TRY))
        assert isinstance(verdict, Admitted)
        assert (verdict.line, verdict.outcome, minted(verdict).outcome) == (
            AdmissionLine.REPLAY,
            says,
            says,
        )


class TestFactsThatAreNotAsked:
    def test_the_owner_of_a_hash_matters_to_who_asks_for_it(self) -> None:
        verdict = decide(standing(token_sha256=None, hash_owner=token("x")))
        assert minted(verdict).token_sha256 is None

    def test_a_heartbeat_asks_for_no_hash(self) -> None:
        beating = standing(RUNNING, bearer=token("a"), token_sha256=FRESH, request_id=FIRST_TRY)
        assert next_action(beating) is NextAction.NONE

    @pytest.mark.parametrize("evidence", [{"bearer": token("a")}, {"ticket": ticket("t", 1)}])
    def test_nothing_was_issued_for_a_workspace_that_is_unknown(
        self, evidence: dict[str, Token]
    ) -> None:
        facts: dict[str, Any] = {"policy": BootstrapPolicy.OPEN, "now": NOW, **evidence}
        assert not evidence_recognised(Standing(workspace=None, **facts))

    def test_what_is_not_said_of_an_attempt_was_not_presented(self) -> None:
        bare = Standing(workspace=LAUNCHED, policy=BootstrapPolicy.OPEN, now=NOW)
        assert (bare.bearer_presented, bare.ticket_presented) == (False, False)
        watched = replace(bare, live_instance_tokens=(token("a"),))
        assert denied(decide(watched)) == (
            AdmissionLine.ANOTHER_LIVES,
            Reason.BEARER_MISSING,
            Recovery.RELAUNCH,
        )

    def test_a_new_workspace_was_never_launched(self) -> None:
        new = Workspace(workspace_id=HOME, tenant_id=TenantId("acme"))
        assert (new.incarnation, new.registered_incarnation) == (0, 0)
        assert (new.ticket_required, new.fences, new.left, new.retired) == (False, (), False, False)

    def test_a_mint_ends_every_other_token_unless_it_names_some(self) -> None:
        act = Mint(
            incarnation=1,
            outcome=Outcome.RECOVERED,
            token_sha256=None,
            request_id=RequestId("9f8d0000-0000-4000-8000-000000000001"),
            minted_on=TokenId("t"),
        )
        assert (act.replace_others, act.revoke) == (True, ())


def test_a_ticket_without_an_end_is_waited_for_in_steps_of_a_second() -> None:
    endless = ticket("t", 2, expire_time=None)
    bearer = dead("a", RevokeReason.RELAUNCHED, incarnation=1)
    verdict = decide(standing(LAUNCHED, bearer=bearer, current_ticket=endless))
    assert isinstance(verdict, Denied)
    assert (verdict.line, verdict.retry_after) == (
        AdmissionLine.NEWER_TICKET,
        timedelta(seconds=1),
    )


class TestALineByItself:
    """Whatever the lines before it say, a line matches where its words do."""

    def answer(self, line: AdmissionLine, s: Standing) -> Verdict | None:
        return LINE[line].answer(s)

    def test_a_bearer_that_lives_is_not_dead(self) -> None:
        for alive in (token("a"), token("a", expire_time=NOW + timedelta(seconds=1))):
            assert self.answer(AdmissionLine.OWN_TOKEN, standing(RUNNING, bearer=alive)) is None

    def test_a_ticket_that_can_still_be_redeemed_is_not_late(self) -> None:
        assert (
            self.answer(AdmissionLine.TICKET_EXPIRED, standing(LAUNCHED, presents=ticket("t", 2)))
            is None
        )

    @pytest.mark.parametrize("incarnation", [1, 2])
    def test_after_a_launch_nobody_bootstraps_as_before_it(self, incarnation: int) -> None:
        assert (
            self.answer(AdmissionLine.OPEN_DOOR, standing(workspace(incarnation=incarnation)))
            is None
        )
        assert (
            self.answer(AdmissionLine.TICKET_NEEDED, standing(workspace(incarnation=incarnation)))
            is not None
        )

    def test_before_a_launch_nobody_is_told_of_its_ticket(self) -> None:
        assert self.answer(AdmissionLine.TICKET_NEEDED, standing()) is None
        assert self.answer(AdmissionLine.OPEN_DOOR, standing()) is not None

    @pytest.mark.parametrize("line", LINES, ids=lambda line: line.title)
    def test_none_speaks_of_an_unknown_workspace(self, line: Line) -> None:
        unknown = Standing(
            workspace=None,
            policy=BootstrapPolicy.OPEN,
            now=NOW,
            bearer_presented=True,
            bearer=dead("a", RevokeReason.OPERATOR),
            ticket_presented=True,
            ticket=ticket("t", 1),
            current_ticket=ticket("t", 1),
            live_instance_tokens=(token("b"),),
            request_id=FIRST_TRY,
        )
        assert line.answer(unknown) is None
