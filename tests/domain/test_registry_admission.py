"""The admission table, one line after the other (design, section 3)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentworkspace.core.ids import RequestId, TenantId, TokenId, WorkspaceId
from agentworkspace.core.refusal import AnyReason, Recovery, SharedReason
from registry_service.domain.admission import (
    NextAction,
    break_glass_refusal,
    decide,
    evidence_recognised,
    next_action,
    place_of,
)
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.admission_table import LINES
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import BootstrapPolicy, Fence, Standing, Workspace
from registry_service.domain.tokens import Outcome, RevokeReason, Token, TokenKind
from registry_service.domain.verdicts import Admitted, Denied, Keep, Mint, SameToken, Verdict

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOME = WorkspaceId("5b3c1c1e-0000-4000-8000-000000000001")
ELSEWHERE = WorkspaceId("5b3c1c1e-0000-4000-8000-000000000002")
FIRST_TRY = RequestId("9f8d0000-0000-4000-8000-000000000001")
SECOND_TRY = RequestId("9f8d0000-0000-4000-8000-000000000002")
FRESH = b"f" * 32


def workspace(**facts: Any) -> Workspace:
    return Workspace(**({"workspace_id": HOME, "tenant_id": TenantId("acme")} | facts))


def token(name: str, kind: TokenKind = TokenKind.INSTANCE, **facts: Any) -> Token:
    """A live token that was used; its hash is made of its name."""
    usual: dict[str, Any] = {
        "workspace_id": HOME,
        "create_time": NOW - 60 * MINUTE,
        "first_use_time": NOW - 50 * MINUTE,
        "outcome": Outcome.BOOTSTRAPPED if kind is TokenKind.INSTANCE else None,
    }
    digest = name.encode().ljust(32, b".")
    return Token(token_id=TokenId(name), kind=kind, token_sha256=digest, **(usual | facts))


def unused(name: str, **facts: Any) -> Token:
    usual: dict[str, Any] = {"first_use_time": None}
    return token(name, **(usual | facts))


def dead(name: str, reason: RevokeReason, **facts: Any) -> Token:
    usual: dict[str, Any] = {"revoke_time": NOW - MINUTE, "revoke_reason": reason}
    return token(name, **(usual | facts))


def ticket(name: str, incarnation: int, **facts: Any) -> Token:
    """A ticket that is outstanding for ten more minutes."""
    usual: dict[str, Any] = {
        "incarnation": incarnation,
        "first_use_time": None,
        "expire_time": NOW + 10 * MINUTE,
    }
    return token(name, TokenKind.TICKET, **(usual | facts))


def redeemed(name: str, incarnation: int, **facts: Any) -> Token:
    return ticket(name, incarnation, **({"first_use_time": NOW - 5 * MINUTE} | facts))


def standing(
    at: Workspace | None = None,
    *,
    bearer: Token | None = None,
    presents: Token | None = None,
    live: tuple[Token, ...] = (),
    policy: BootstrapPolicy = BootstrapPolicy.ADAPTIVE,
    **facts: Any,
) -> Standing:
    """A bearer that is live counts among the live ones; a presented ticket is the current one
    unless the facts say otherwise."""
    everywhere = (*live, *((bearer,) if bearer else ()))
    instances = tuple(t for t in everywhere if t.kind is TokenKind.INSTANCE and t.is_live(NOW))
    usual: dict[str, Any] = {
        "workspace": at or workspace(),
        "policy": policy,
        "now": NOW,
        "bearer": bearer,
        "bearer_presented": bearer is not None,
        "ticket": presents,
        "ticket_presented": presents is not None,
        "current_ticket": presents,
        "live_instance_tokens": instances,
    }
    return Standing(**(usual | facts))


def asking_for(wanted: Token | bytes) -> dict[str, Any]:
    """The hash of a token that exists, or of one that does not."""
    if isinstance(wanted, bytes):
        return {"token_sha256": wanted}
    return {"token_sha256": wanted.token_sha256, "hash_owner": wanted}


def admitted(verdict: Verdict, line: AdmissionLine, outcome: Outcome) -> Admitted:
    assert isinstance(verdict, Admitted), verdict
    assert (verdict.line, verdict.outcome) == (line, outcome)
    return verdict


def minted(verdict: Verdict, line: AdmissionLine, outcome: Outcome) -> Mint:
    act = admitted(verdict, line, outcome).act
    assert isinstance(act, Mint), act
    assert act.outcome is outcome
    return act


def denied(verdict: Verdict, line: AdmissionLine, reason: AnyReason, recovery: Recovery) -> Denied:
    assert isinstance(verdict, Denied), verdict
    assert (verdict.line, verdict.reason, verdict.recovery) == (line, reason, recovery)
    return verdict


LINE = {line.name: line for line in LINES}
LAUNCHED = workspace(incarnation=2, registered_incarnation=1)
RUNNING = workspace(incarnation=2, registered_incarnation=2)


class TestBeforeTheTable:
    def test_an_unknown_workspace_may_still_be_on_its_way(self) -> None:
        verdict = decide(
            Standing(workspace=None, policy=BootstrapPolicy.OPEN, now=NOW, bearer=token("a"))
        )
        denied(verdict, AdmissionLine.UNKNOWN, SharedReason.WORKSPACE_UNKNOWN, Recovery.RETRY)

    def test_a_retired_workspace_is_closed_even_to_the_newest_ticket(self) -> None:
        retired = workspace(incarnation=2, retired=True)
        verdict = decide(standing(retired, presents=ticket("t", 2)))
        denied(verdict, AdmissionLine.RETIRED, SharedReason.WORKSPACE_REMOVED, Recovery.STOP)


class TestLiveBearer:
    def test_a_live_bearer_is_authenticated_and_nothing_is_minted(self) -> None:
        bearer = token("a", incarnation=2)
        verdict = admitted(
            decide(standing(RUNNING, bearer=bearer)),
            AdmissionLine.LIVE_TOKEN,
            Outcome.AUTHENTICATED,
        )
        assert verdict.act == Keep(bearer)
        assert verdict.incarnation == 2
        assert verdict.used == bearer

    def test_a_box_that_names_the_token_it_holds_keeps_it(self) -> None:
        bearer = token("a")
        verdict = decide(standing(bearer=bearer, **asking_for(bearer)))
        assert admitted(verdict, AdmissionLine.LIVE_TOKEN, Outcome.AUTHENTICATED).act == Keep(
            bearer
        )

    def test_a_new_hash_rotates_and_the_bearer_lives_until_the_new_one_is_used(self) -> None:
        bearer = token("a", incarnation=2)
        verdict = decide(standing(RUNNING, bearer=bearer, **asking_for(FRESH)))
        act = minted(verdict, AdmissionLine.LIVE_TOKEN, Outcome.AUTHENTICATED)
        assert (act.replaces, act.minted_on, act.incarnation) == ("a", "a", 2)
        assert act.token_sha256 == FRESH
        assert not act.replace_others
        assert act.revoke == ()

    def test_the_same_rotation_again_is_the_same_token(self) -> None:
        successor = unused("b", minted_on="a", replaces="a")
        verdict = decide(standing(bearer=token("a"), live=(successor,), **asking_for(successor)))
        assert admitted(verdict, AdmissionLine.LIVE_TOKEN, Outcome.AUTHENTICATED).act == SameToken(
            successor
        )

    def test_another_rotation_revokes_the_pending_successor_only(self) -> None:
        successor = unused("b", minted_on="a", replaces="a")
        stranger = unused("c")
        verdict = decide(
            standing(bearer=token("a"), live=(successor, stranger), **asking_for(FRESH))
        )
        act = minted(verdict, AdmissionLine.LIVE_TOKEN, Outcome.AUTHENTICATED)
        assert not act.replace_others
        assert act.revoke == ("b",)

    def test_the_first_use_of_a_successor_takes_its_predecessor_along(self) -> None:
        successor = unused("b", minted_on="a", replaces="a")
        verdict = decide(standing(bearer=successor, live=(token("a"),)))
        used = admitted(verdict, AdmissionLine.LIVE_TOKEN, Outcome.AUTHENTICATED).used
        assert used is not None
        assert used.dies_at_first_use() == "a"
        assert replace(used, first_use_time=NOW).dies_at_first_use() is None

    def test_a_hash_of_another_token_cannot_be_rotated_to(self) -> None:
        verdict = decide(
            standing(bearer=token("a"), **asking_for(token("x", workspace_id=ELSEWHERE)))
        )
        denied(
            verdict, AdmissionLine.LIVE_TOKEN, SharedReason.TOKEN_HASH_IN_USE, Recovery.FIX_REQUEST
        )

    def test_a_live_token_of_another_workspace_is_no_bearer_here(self) -> None:
        foreign = token("a", workspace_id=ELSEWHERE)
        verdict = decide(
            standing(bearer=foreign, live=(token("b"),), live_instance_tokens=(token("b"),))
        )
        denied(
            verdict, AdmissionLine.ANOTHER_LIVES, SharedReason.BEARER_REJECTED, Recovery.RELAUNCH
        )


class TestOutstandingTicket:
    def test_the_newest_ticket_bootstraps_and_ends_every_other_token(self) -> None:
        verdict = decide(
            standing(LAUNCHED, presents=ticket("t", 2), live=(token("a"),), request_id=FIRST_TRY)
        )
        act = minted(verdict, AdmissionLine.TICKET, Outcome.BOOTSTRAPPED)
        assert act.replace_others
        assert (act.redeem_ticket, act.minted_on, act.incarnation) == ("t", "t", 2)
        assert (act.replaces, act.token_sha256, act.request_id) == (None, None, FIRST_TRY)

    def test_a_fence_keeps_the_ticket_of_the_newest_launch_out_too(self) -> None:
        shown = ticket("t", 2)
        suspended = decide(standing(replace(LAUNCHED, suspended=True), presents=shown))
        denied(suspended, AdmissionLine.FENCED, SharedReason.WORKSPACE_SUSPENDED, Recovery.STOP)
        stolen = decide(standing(replace(LAUNCHED, compromised=True), presents=shown))
        denied(stolen, AdmissionLine.FENCED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)

    def test_the_ticket_wins_over_a_compromised_bearer_beside_it(self) -> None:
        bearer = dead("a", RevokeReason.COMPROMISED, incarnation=1)
        verdict = decide(standing(LAUNCHED, bearer=bearer, presents=ticket("t", 2)))
        minted(verdict, AdmissionLine.TICKET, Outcome.BOOTSTRAPPED)

    def test_a_ticket_does_not_buy_a_hash_that_is_taken(self) -> None:
        verdict = decide(standing(LAUNCHED, presents=ticket("t", 2), **asking_for(token("x"))))
        denied(verdict, AdmissionLine.TICKET, SharedReason.TOKEN_HASH_IN_USE, Recovery.FIX_REQUEST)

    def test_a_void_ticket_of_the_same_launch_opens_nothing(self) -> None:
        void = ticket("t1", 2, revoke_time=NOW - MINUTE, revoke_reason=RevokeReason.ROTATED)
        verdict = decide(standing(LAUNCHED, presents=void, current_ticket=ticket("t2", 2)))
        denied(verdict, AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)

    def test_a_ticket_of_another_workspace_is_no_ticket_here(self) -> None:
        foreign = ticket("t", 2, workspace_id=ELSEWHERE)
        verdict = decide(standing(LAUNCHED, presents=foreign))
        denied(verdict, AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)


class TestTicketAgain:
    def again(self, its_token: Token, **facts: Any) -> Verdict:
        at = facts.pop("at", RUNNING)
        live = (its_token,) if its_token.is_live(NOW) else ()
        shown = redeemed("t", 2)
        return decide(standing(at, presents=shown, ticket_token=its_token, live=live, **facts))

    def test_the_same_hash_gets_the_same_token(self) -> None:
        first = unused("a", minted_on="t", incarnation=2, client_made=True)
        verdict = self.again(first, **asking_for(first))
        assert admitted(verdict, AdmissionLine.TICKET_AGAIN, Outcome.BOOTSTRAPPED).act == SameToken(
            first
        )

    @pytest.mark.parametrize("request_id", [None, FIRST_TRY, SECOND_TRY])
    @pytest.mark.parametrize("wanted", [None, FRESH])
    def test_anything_else_replaces_the_lost_token_whatever_the_request_id(
        self, request_id: RequestId | None, wanted: bytes | None
    ) -> None:
        first = unused("a", minted_on="t", incarnation=2, request_id=FIRST_TRY, client_made=True)
        act = minted(
            self.again(first, token_sha256=wanted, request_id=request_id),
            AdmissionLine.TICKET_AGAIN,
            Outcome.BOOTSTRAPPED,
        )
        assert act.replace_others
        assert (act.minted_on, act.incarnation, act.redeem_ticket) == ("t", 2, None)

    def test_it_does_not_matter_that_the_ticket_expired_since(self) -> None:
        first = unused("a", minted_on="t", incarnation=2)
        shown = redeemed("t", 2, expire_time=NOW - MINUTE)
        verdict = decide(standing(RUNNING, presents=shown, ticket_token=first, live=(first,)))
        minted(verdict, AdmissionLine.TICKET_AGAIN, Outcome.BOOTSTRAPPED)

    def test_a_never_used_token_that_died_is_replaced_but_not_raised(self) -> None:
        first = unused(
            "a",
            minted_on="t",
            incarnation=2,
            revoke_time=NOW - MINUTE,
            revoke_reason=RevokeReason.OPERATOR,
        )
        minted(
            self.again(first, **asking_for(FRESH)), AdmissionLine.TICKET_AGAIN, Outcome.BOOTSTRAPPED
        )
        denied(
            self.again(first, **asking_for(first)),
            AdmissionLine.TICKET_AGAIN,
            SharedReason.TOKEN_HASH_IN_USE,
            Recovery.FIX_REQUEST,
        )

    def test_behind_a_fence_a_redeemed_ticket_opens_nothing(self) -> None:
        first = unused("a", minted_on="t", incarnation=2)
        fenced = replace(RUNNING, compromised=True)
        denied(
            self.again(first, at=fenced),
            AdmissionLine.FENCED,
            Reason.TICKET_REQUIRED,
            Recovery.RELAUNCH,
        )


class TestLostAnswers:
    def test_hash_and_request_id_of_a_never_used_token_get_its_answer_again(self) -> None:
        first = unused("a", request_id=FIRST_TRY, client_made=True, outcome=Outcome.RECOVERED)
        verdict = decide(standing(live=(first,), request_id=FIRST_TRY, **asking_for(first)))
        assert admitted(verdict, AdmissionLine.REPLAY, Outcome.RECOVERED).act == SameToken(first)

    def test_only_both_together_do(self) -> None:
        first = unused("a", request_id=FIRST_TRY, client_made=True)
        halves: list[dict[str, Any]] = [
            {"request_id": FIRST_TRY},
            {"request_id": SECOND_TRY} | asking_for(first),
            asking_for(first),
        ]
        for facts in halves:
            verdict = decide(standing(live=(first,), **facts))
            denied(verdict, AdmissionLine.ANOTHER_LIVES, Reason.BEARER_MISSING, Recovery.RELAUNCH)

    def test_a_token_that_was_used_is_not_answered_again(self) -> None:
        first = token("a", request_id=FIRST_TRY, client_made=True)
        verdict = decide(standing(live=(first,), request_id=FIRST_TRY, **asking_for(first)))
        denied(verdict, AdmissionLine.ANOTHER_LIVES, Reason.BEARER_MISSING, Recovery.RELAUNCH)

    def test_a_break_glass_token_is_no_answer_of_register(self) -> None:
        made = unused("a", request_id=FIRST_TRY, outcome=None)
        verdict = decide(standing(live=(made,), request_id=FIRST_TRY, **asking_for(made)))
        denied(verdict, AdmissionLine.ANOTHER_LIVES, Reason.BEARER_MISSING, Recovery.RELAUNCH)

    @pytest.mark.parametrize("reason", [RevokeReason.OPERATOR, RevokeReason.RELAUNCHED])
    def test_the_same_dead_bearer_and_request_id_get_a_fresh_secret(
        self, reason: RevokeReason
    ) -> None:
        bearer = dead("a", reason, incarnation=2)
        lost = unused("b", minted_on="a", request_id=FIRST_TRY, outcome=Outcome.RECOVERED)
        verdict = decide(standing(RUNNING, bearer=bearer, live=(lost,), request_id=FIRST_TRY))
        act = minted(verdict, AdmissionLine.REPLAY, Outcome.RECOVERED)
        assert act.replace_others
        assert (act.minted_on, act.replaces, act.incarnation) == ("a", "a", 2)

    def test_so_does_the_same_api_token_before_any_launch(self) -> None:
        api = token("p", TokenKind.API)
        lost = unused("b", minted_on="p", request_id=FIRST_TRY, outcome=Outcome.RECOVERED)
        verdict = decide(standing(bearer=api, live=(lost,), request_id=FIRST_TRY))
        assert minted(verdict, AdmissionLine.REPLAY, Outcome.RECOVERED).minted_on == "p"

    def test_a_bearer_that_lost_its_answer_may_bring_its_ticket_too(self) -> None:
        bearer = dead("a", RevokeReason.OPERATOR, incarnation=2, minted_on="t")
        lost = unused("b", minted_on="a", request_id=FIRST_TRY, outcome=Outcome.RECOVERED)
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
        assert minted(verdict, AdmissionLine.REPLAY, Outcome.RECOVERED).minted_on == "t"

    def test_another_request_id_with_a_dead_bearer_meets_the_live_token(self) -> None:
        bearer = dead("a", RevokeReason.OPERATOR)
        lost = unused("b", minted_on="a", request_id=FIRST_TRY)
        verdict = decide(standing(bearer=bearer, live=(lost,), request_id=SECOND_TRY))
        denied(
            verdict, AdmissionLine.ANOTHER_LIVES, SharedReason.BEARER_REJECTED, Recovery.RELAUNCH
        )

    @pytest.mark.parametrize(
        ("client_made", "wanted"), [(True, FRESH), (True, None), (False, FRESH)]
    )
    def test_the_same_request_id_with_another_hash_is_refused(
        self, client_made: bool, wanted: bytes | None
    ) -> None:
        bearer = dead("a", RevokeReason.OPERATOR)
        lost = unused("b", minted_on="a", request_id=FIRST_TRY, client_made=client_made)
        verdict = decide(
            standing(bearer=bearer, live=(lost,), request_id=FIRST_TRY, token_sha256=wanted)
        )
        denied(verdict, AdmissionLine.REPLAY, SharedReason.REQUEST_ID_REUSED, Recovery.FIX_REQUEST)

    def test_a_replay_opens_only_what_its_evidence_opens_now(self) -> None:
        lost = unused("b", minted_on="a", request_id=FIRST_TRY)
        operator = dead("a", RevokeReason.OPERATOR, incarnation=1)
        behind: dict[str, Any] = {"live": (lost,), "request_id": FIRST_TRY}
        fenced = replace(RUNNING, compromised=True)
        denied(
            decide(standing(fenced, bearer=operator, **behind)),
            AdmissionLine.SUPERSEDED,
            Reason.INCARNATION_SUPERSEDED,
            Recovery.STOP,
        )
        denied(
            decide(standing(bearer=dead("a", RevokeReason.COMPROMISED), **behind)),
            AdmissionLine.COMPROMISED,
            SharedReason.BEARER_REJECTED,
            Recovery.RELAUNCH,
        )
        denied(
            decide(standing(bearer=dead("a", RevokeReason.ROTATED), **behind)),
            AdmissionLine.ANOTHER_LIVES,
            SharedReason.BEARER_REJECTED,
            Recovery.RELAUNCH,
        )
        denied(
            decide(standing(bearer=operator, live=(lost, token("c")), request_id=FIRST_TRY)),
            AdmissionLine.ANOTHER_LIVES,
            SharedReason.BEARER_REJECTED,
            Recovery.RELAUNCH,
        )


class TestTicketAndLiveHash:
    def test_a_box_restarted_in_place_is_recognised_by_the_token_it_derives(self) -> None:
        derived = token("a", minted_on="t", incarnation=2)
        verdict = decide(
            standing(
                RUNNING,
                presents=redeemed("t", 2),
                ticket_token=derived,
                live=(derived,),
                **asking_for(derived),
            )
        )
        result = admitted(verdict, AdmissionLine.TICKET_AND_TOKEN, Outcome.AUTHENTICATED)
        assert result.act == SameToken(derived)
        assert result.used is None

    def test_the_hash_of_a_dead_token_does_not_do(self) -> None:
        derived = dead("a", RevokeReason.ROTATED, minted_on="t", incarnation=2)
        verdict = decide(
            standing(
                RUNNING,
                presents=redeemed("t", 2),
                ticket_token=derived,
                live=(token("b"),),
                **asking_for(derived),
            )
        )
        denied(verdict, AdmissionLine.ANOTHER_LIVES, Reason.BEARER_MISSING, Recovery.RELAUNCH)


class TestCompromised:
    def test_a_compromised_bearer_opens_nothing_even_when_nobody_else_lives(self) -> None:
        for at in (workspace(), workspace(left=True), workspace(ticket_required=True)):
            verdict = decide(standing(at, bearer=dead("a", RevokeReason.COMPROMISED)))
            denied(
                verdict, AdmissionLine.COMPROMISED, SharedReason.BEARER_REJECTED, Recovery.RELAUNCH
            )


class TestSuperseded:
    @pytest.mark.parametrize("reason", [RevokeReason.RELAUNCHED, RevokeReason.OPERATOR])
    def test_an_old_bearer_stops_once_a_newer_box_has_registered(
        self, reason: RevokeReason
    ) -> None:
        verdict = decide(standing(RUNNING, bearer=dead("a", reason, incarnation=1)))
        denied(verdict, AdmissionLine.SUPERSEDED, Reason.INCARNATION_SUPERSEDED, Recovery.STOP)

    def test_so_does_an_old_ticket(self) -> None:
        old = redeemed("t1", 1)
        verdict = decide(standing(RUNNING, presents=old, current_ticket=redeemed("t2", 2)))
        denied(verdict, AdmissionLine.SUPERSEDED, Reason.INCARNATION_SUPERSEDED, Recovery.STOP)

    def test_the_newest_of_the_older_evidence_counts(self) -> None:
        at = workspace(incarnation=3, registered_incarnation=2)
        verdict = decide(
            standing(
                at,
                bearer=dead("a", RevokeReason.OPERATOR, incarnation=1),
                presents=redeemed("t2", 2, revoke_time=NOW),
                current_ticket=ticket("t3", 3),
            )
        )
        denied(verdict, AdmissionLine.NEWER_TICKET, Reason.INCARNATION_SUPERSEDED, Recovery.RETRY)

    def test_the_holder_of_the_current_ticket_is_never_superseded(self) -> None:
        verdict = decide(
            standing(
                RUNNING,
                bearer=dead("a", RevokeReason.RELAUNCHED, incarnation=1),
                presents=redeemed("t", 2),
                ticket_token=dead("b", RevokeReason.OPERATOR, incarnation=2, minted_on="t"),
            )
        )
        minted(verdict, AdmissionLine.TICKET_REDEEMED, Outcome.RECOVERED)


class TestNewerOutstanding:
    def waiting(self, expire_time: datetime) -> Denied:
        newer = ticket("t", 2, expire_time=expire_time)
        bearer = dead("a", RevokeReason.RELAUNCHED, incarnation=1)
        verdict = decide(standing(LAUNCHED, bearer=bearer, current_ticket=newer))
        return denied(
            verdict, AdmissionLine.NEWER_TICKET, Reason.INCARNATION_SUPERSEDED, Recovery.RETRY
        )

    def test_an_old_box_waits_for_the_end_of_the_newer_ticket(self) -> None:
        assert self.waiting(NOW + 7 * MINUTE).retry_after == timedelta(minutes=7)

    def test_it_waits_one_second_at_least(self) -> None:
        soon = NOW + timedelta(milliseconds=3)
        assert self.waiting(soon).retry_after == timedelta(seconds=1)


class TestAnotherLives:
    @pytest.mark.parametrize("policy", list(BootstrapPolicy))
    def test_a_stranger_is_refused_while_any_token_lives(self, policy: BootstrapPolicy) -> None:
        for live in (token("a"), unused("a")):
            verdict = decide(standing(live=(live,), policy=policy))
            denied(verdict, AdmissionLine.ANOTHER_LIVES, Reason.BEARER_MISSING, Recovery.RELAUNCH)

    @pytest.mark.parametrize("reason", [r for r in RevokeReason if r != RevokeReason.COMPROMISED])
    def test_a_stale_bearer_is_refused_while_a_token_is_live(self, reason: RevokeReason) -> None:
        verdict = decide(standing(bearer=dead("a", reason), live=(token("b"),)))
        denied(
            verdict, AdmissionLine.ANOTHER_LIVES, SharedReason.BEARER_REJECTED, Recovery.RELAUNCH
        )

    def test_a_wrong_bearer_is_called_rejected(self) -> None:
        verdict = decide(standing(bearer_presented=True, live=(token("b"),)))
        denied(
            verdict, AdmissionLine.ANOTHER_LIVES, SharedReason.BEARER_REJECTED, Recovery.RELAUNCH
        )

    def test_an_api_token_does_not_pass_a_live_instance_token(self) -> None:
        verdict = decide(standing(bearer=token("p", TokenKind.API), live=(token("b"),)))
        denied(
            verdict, AdmissionLine.ANOTHER_LIVES, SharedReason.BEARER_REJECTED, Recovery.RELAUNCH
        )

    def test_a_redeemed_ticket_does_not_pass_a_used_live_token(self) -> None:
        used = token("a", minted_on="t", incarnation=2)
        verdict = decide(
            standing(RUNNING, presents=redeemed("t", 2), ticket_token=used, live=(used,))
        )
        denied(verdict, AdmissionLine.ANOTHER_LIVES, Reason.BEARER_MISSING, Recovery.RELAUNCH)


class TestFence:
    def test_a_suspended_workspace_stops_its_box(self) -> None:
        at = workspace(incarnation=2, suspended=True)
        bearer = dead("a", RevokeReason.SUSPENDED, incarnation=2)
        verdict = decide(standing(at, bearer=bearer))
        denied(verdict, AdmissionLine.FENCED, SharedReason.WORKSPACE_SUSPENDED, Recovery.STOP)

    def test_a_compromised_workspace_waits_for_a_new_launch(self) -> None:
        at = workspace(incarnation=2, compromised=True)
        used = dead("a", RevokeReason.OPERATOR, incarnation=2, minted_on="t")
        verdict = decide(standing(at, presents=redeemed("t", 2), ticket_token=used))
        denied(verdict, AdmissionLine.FENCED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)


class TestApiToken:
    def test_an_api_token_brings_a_box_in_before_any_launch(self) -> None:
        act = minted(
            decide(standing(bearer=token("p", TokenKind.API))),
            AdmissionLine.API_TOKEN,
            Outcome.RECOVERED,
        )
        assert act.replace_others
        assert (act.minted_on, act.replaces, act.incarnation) == ("p", None, 0)

    def test_not_after_a_launch(self) -> None:
        verdict = decide(standing(LAUNCHED, bearer=token("p", TokenKind.API)))
        denied(verdict, AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)

    def test_not_where_a_ticket_is_required_from_birth(self) -> None:
        at = workspace(ticket_required=True)
        verdict = decide(standing(at, bearer=token("p", TokenKind.API)))
        denied(verdict, AdmissionLine.OPEN_DOOR, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)

    def test_not_with_a_dead_one(self) -> None:
        strict = BootstrapPolicy.STRICT
        for gone in (
            dead("p", RevokeReason.OPERATOR, kind=TokenKind.API),
            token("p", TokenKind.API, expire_time=NOW),
        ):
            denied(
                decide(standing(bearer=gone, policy=strict)),
                AdmissionLine.OPEN_DOOR,
                Reason.TICKET_REQUIRED,
                Recovery.RELAUNCH,
            )


class TestRedeemedTicket:
    def test_the_newest_ticket_brings_its_box_back_after_its_token_died(self) -> None:
        for reason in (RevokeReason.OPERATOR, RevokeReason.ROTATED):
            used = dead("a", reason, incarnation=2, minted_on="t")
            verdict = decide(standing(RUNNING, presents=redeemed("t", 2), ticket_token=used))
            act = minted(verdict, AdmissionLine.TICKET_REDEEMED, Outcome.RECOVERED)
            assert act.replace_others
            assert (act.minted_on, act.incarnation, act.redeem_ticket) == ("t", 2, None)

    def test_a_dead_derived_token_is_not_raised(self) -> None:
        used = dead("a", RevokeReason.OPERATOR, incarnation=2, minted_on="t")
        verdict = decide(
            standing(RUNNING, presents=redeemed("t", 2), ticket_token=used, **asking_for(used))
        )
        denied(
            verdict,
            AdmissionLine.TICKET_REDEEMED,
            SharedReason.TOKEN_HASH_IN_USE,
            Recovery.FIX_REQUEST,
        )


class TestOwnDeadBearer:
    @pytest.mark.parametrize("reason", [RevokeReason.OPERATOR, RevokeReason.RELAUNCHED])
    def test_a_bearer_revoked_in_the_gap_gets_a_fresh_token(self, reason: RevokeReason) -> None:
        bearer = dead("a", reason, incarnation=2)
        act = minted(
            decide(standing(RUNNING, bearer=bearer)), AdmissionLine.OWN_TOKEN, Outcome.RECOVERED
        )
        assert (act.minted_on, act.incarnation) == ("a", 2)

    def test_it_outlives_the_answer_so_that_a_lost_one_can_be_asked_for_again(self) -> None:
        bearer = dead("a", RevokeReason.OPERATOR, incarnation=2)
        act = minted(
            decide(standing(RUNNING, bearer=bearer)), AdmissionLine.OWN_TOKEN, Outcome.RECOVERED
        )
        assert act.replaces == "a"

    def test_one_that_has_run_out_does_not_also_when_it_was_revoked_later(self) -> None:
        for bearer in (
            token("a", expire_time=NOW, incarnation=2),
            dead("a", RevokeReason.RELAUNCHED, expire_time=NOW, incarnation=2),
        ):
            verdict = decide(standing(RUNNING, bearer=bearer))
            denied(verdict, AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)

    def test_an_unproven_one_does_not(self) -> None:
        bearer = dead("a", RevokeReason.OPERATOR, incarnation=2, unproven=True)
        verdict = decide(standing(RUNNING, bearer=bearer))
        denied(verdict, AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)

    def test_not_after_its_box_has_left(self) -> None:
        bearer = dead("a", RevokeReason.OPERATOR, incarnation=2)
        verdict = decide(standing(replace(RUNNING, left=True), bearer=bearer))
        denied(verdict, AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)

    def test_not_beside_the_newest_ticket_even_a_void_one(self) -> None:
        bearer = dead("a", RevokeReason.OPERATOR, incarnation=2)
        void = redeemed("t", 2, revoke_time=NOW, revoke_reason=RevokeReason.OPERATOR)
        verdict = decide(standing(RUNNING, bearer=bearer, presents=void))
        denied(verdict, AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)

    def test_the_new_token_ends_when_its_evidence_would_have(self) -> None:
        ends = NOW + 7 * MINUTE
        bearer = dead("a", RevokeReason.OPERATOR, incarnation=2, expire_time=ends)
        act = minted(
            decide(standing(RUNNING, bearer=bearer)), AdmissionLine.OWN_TOKEN, Outcome.RECOVERED
        )
        assert (act.expire_time, act.unproven) == (ends, False)

    def test_the_new_token_carries_the_incarnation_of_its_evidence(self) -> None:
        bearer = dead("a", RevokeReason.RELAUNCHED, incarnation=1)
        lapsed = ticket("t", 2, expire_time=NOW - MINUTE)
        verdict = decide(standing(LAUNCHED, bearer=bearer, current_ticket=lapsed))
        assert minted(verdict, AdmissionLine.OWN_TOKEN, Outcome.RECOVERED).incarnation == 1

    @pytest.mark.parametrize(
        "reason", [RevokeReason.ROTATED, RevokeReason.SUSPENDED, RevokeReason.REMOVED]
    )
    @pytest.mark.parametrize("expire_time", [None, NOW - MINUTE])
    def test_a_bearer_given_up_or_taken_for_cause_does_not(
        self, reason: RevokeReason, expire_time: datetime | None
    ) -> None:
        bearer = dead("a", reason, incarnation=2, expire_time=expire_time)
        verdict = decide(standing(RUNNING, bearer=bearer))
        denied(verdict, AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)

    def test_not_while_a_ticket_is_outstanding(self) -> None:
        bearer = dead("a", RevokeReason.OPERATOR, incarnation=2)
        verdict = decide(standing(LAUNCHED, bearer=bearer, current_ticket=ticket("t", 2)))
        denied(verdict, AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)


class TestExpiredTicket:
    def test_a_ticket_that_came_too_late_says_so(self) -> None:
        late = ticket("t", 2, expire_time=NOW)
        verdict = decide(standing(LAUNCHED, presents=late))
        denied(verdict, AdmissionLine.TICKET_EXPIRED, Reason.TICKET_EXPIRED, Recovery.RELAUNCH)

    def test_one_that_was_redeemed_in_time_is_not_late(self) -> None:
        once = standing(RUNNING, presents=redeemed("t", 2, expire_time=NOW))
        assert LINE[AdmissionLine.TICKET_EXPIRED].answer(once) is None
        minted(decide(once), AdmissionLine.TICKET_REDEEMED, Outcome.RECOVERED)


class TestAfterALaunch:
    @pytest.mark.parametrize("policy", [BootstrapPolicy.ADAPTIVE, BootstrapPolicy.STRICT])
    def test_knowing_the_id_is_not_enough(self, policy: BootstrapPolicy) -> None:
        for state in (redeemed("t", 2), ticket("t", 2, expire_time=NOW), ticket("t", 2)):
            verdict = decide(standing(RUNNING, current_ticket=state, policy=policy))
            denied(verdict, AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)

    def test_open_lets_anyone_in_while_no_ticket_is_outstanding(self) -> None:
        verdict = decide(
            standing(RUNNING, current_ticket=redeemed("t", 2), policy=BootstrapPolicy.OPEN)
        )
        act = minted(verdict, AdmissionLine.TICKET_NEEDED, Outcome.BOOTSTRAPPED)
        assert (act.minted_on, act.incarnation) == (None, 2)

    def test_open_does_not_while_one_is(self) -> None:
        verdict = decide(
            standing(LAUNCHED, current_ticket=ticket("t", 2), policy=BootstrapPolicy.OPEN)
        )
        denied(verdict, AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)


class TestBeforeAnyLaunch:
    @pytest.mark.parametrize("policy", [BootstrapPolicy.ADAPTIVE, BootstrapPolicy.OPEN])
    def test_the_first_box_bootstraps(self, policy: BootstrapPolicy) -> None:
        act = minted(decide(standing(policy=policy)), AdmissionLine.OPEN_DOOR, Outcome.BOOTSTRAPPED)
        assert act.replace_others
        assert (act.minted_on, act.incarnation) == (None, 0)

    def test_strict_wants_a_ticket(self) -> None:
        verdict = decide(standing(policy=BootstrapPolicy.STRICT))
        denied(verdict, AdmissionLine.OPEN_DOOR, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)

    @pytest.mark.parametrize("policy", list(BootstrapPolicy))
    def test_so_does_a_workspace_born_with_that_rule(self, policy: BootstrapPolicy) -> None:
        verdict = decide(standing(workspace(ticket_required=True), policy=policy))
        denied(verdict, AdmissionLine.OPEN_DOOR, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)

    def test_a_taken_hash_is_refused_here_too(self) -> None:
        verdict = decide(standing(**asking_for(token("x", workspace_id=ELSEWHERE))))
        denied(
            verdict, AdmissionLine.OPEN_DOOR, SharedReason.TOKEN_HASH_IN_USE, Recovery.FIX_REQUEST
        )


class TestFactsThatProveNothingInTheirPlace:
    """A lookup by hash finds whatever has that hash; what does not belong counts as absent."""

    def test_a_token_minted_on_another_ticket_is_not_the_token_of_this_one(self) -> None:
        strange = unused("a", minted_on="t1", incarnation=2)
        verdict = decide(standing(RUNNING, presents=redeemed("t2", 2), ticket_token=strange))
        minted(verdict, AdmissionLine.TICKET_REDEEMED, Outcome.RECOVERED)

    def test_a_ticket_of_an_earlier_launch_is_never_current(self) -> None:
        verdict = decide(standing(LAUNCHED, presents=ticket("t", 1)))
        denied(verdict, AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)

    @pytest.mark.parametrize(
        "strange",
        [
            token("a", workspace_id=ELSEWHERE),
            token("a", TokenKind.API),
            token("a", expire_time=NOW),
            dead("a", RevokeReason.ROTATED),
        ],
    )
    def test_only_live_instance_tokens_of_this_workspace_keep_others_out(
        self, strange: Token
    ) -> None:
        verdict = decide(standing(live_instance_tokens=(strange,)))
        minted(verdict, AdmissionLine.OPEN_DOOR, Outcome.BOOTSTRAPPED)


class TestHeartbeat:
    def test_a_live_bearer_goes_on(self) -> None:
        assert next_action(standing(RUNNING, bearer=token("a"))) is NextAction.NONE

    def test_a_live_bearer_goes_on_whatever_else_lives(self) -> None:
        beside = standing(RUNNING, bearer=token("a"), live=(unused("b", minted_on="a"),))
        assert next_action(beside) is NextAction.NONE

    @pytest.mark.parametrize("reason", list(RevokeReason))
    def test_a_dead_own_bearer_is_told_to_register_again(self, reason: RevokeReason) -> None:
        bearer = dead("a", reason, incarnation=2)
        assert next_action(standing(RUNNING, bearer=bearer)) is NextAction.REGISTER

    def test_also_while_a_newer_launch_is_outstanding(self) -> None:
        bearer = dead("a", RevokeReason.RELAUNCHED, incarnation=1)
        waiting = standing(LAUNCHED, bearer=bearer, current_ticket=ticket("t", 2))
        assert next_action(waiting) is NextAction.REGISTER

    def test_a_superseded_suspended_or_retired_box_is_told_to_stop(self) -> None:
        superseded = standing(RUNNING, bearer=dead("a", RevokeReason.RELAUNCHED, incarnation=1))
        suspended = standing(
            replace(RUNNING, suspended=True),
            bearer=dead("a", RevokeReason.SUSPENDED, incarnation=2),
        )
        retired = standing(
            replace(RUNNING, retired=True), bearer=dead("a", RevokeReason.REMOVED, incarnation=2)
        )
        assert {next_action(s) for s in (superseded, suspended, retired)} == {NextAction.STOP}

    def test_without_an_own_bearer_there_is_no_answer(self) -> None:
        missing = next_action(standing())
        assert isinstance(missing, Denied)
        denied(missing, AdmissionLine.NO_TOKEN, Reason.BEARER_MISSING, Recovery.REGISTER)
        for bearer in (token("a", workspace_id=ELSEWHERE), token("p", TokenKind.API)):
            rejected = next_action(standing(replace(RUNNING, retired=True), bearer=bearer))
            assert isinstance(rejected, Denied)
            denied(
                rejected, AdmissionLine.NO_TOKEN, SharedReason.BEARER_REJECTED, Recovery.REGISTER
            )

    def test_an_unknown_workspace_may_still_be_on_its_way(self) -> None:
        verdict = next_action(Standing(workspace=None, policy=BootstrapPolicy.OPEN, now=NOW))
        assert isinstance(verdict, Denied)
        denied(verdict, AdmissionLine.UNKNOWN, SharedReason.WORKSPACE_UNKNOWN, Recovery.RETRY)

    def test_only_the_bearer_counts(self) -> None:
        bearer = dead("a", RevokeReason.RELAUNCHED, incarnation=1)
        beside = standing(RUNNING, bearer=bearer, presents=ticket("t", 2))
        assert next_action(beside) is NextAction.STOP


class TestEvidence:
    @pytest.mark.parametrize(
        ("facts", "recognised"),
        [
            ({}, False),
            ({"bearer_presented": True, "ticket_presented": True}, False),
            ({"bearer": token("a")}, True),
            ({"bearer": dead("a", RevokeReason.ROTATED)}, True),
            ({"bearer": token("a", workspace_id=ELSEWHERE)}, False),
            ({"bearer": token("p", TokenKind.API)}, True),
            ({"bearer": dead("p", RevokeReason.OPERATOR, kind=TokenKind.API)}, False),
            ({"bearer": ticket("t", 2)}, False),
            ({"presents": ticket("t", 2)}, True),
            ({"presents": ticket("t", 1, revoke_time=NOW)}, True),
            ({"presents": ticket("t", 2, workspace_id=ELSEWHERE)}, False),
            ({"presents": token("a")}, False),
        ],
    )
    def test_is_what_was_issued_for_this_workspace(
        self, facts: dict[str, Any], recognised: bool
    ) -> None:
        assert evidence_recognised(standing(RUNNING, **facts)) is recognised


class TestBreakGlass:
    def test_opens_only_where_nobody_is_in_and_nobody_is_awaited(self) -> None:
        run_out = ticket("t", 2, expire_time=NOW)
        assert break_glass_refusal(standing(RUNNING, current_ticket=redeemed("t", 2))) is None
        assert break_glass_refusal(standing(LAUNCHED, current_ticket=run_out)) is None
        taken = Reason.INSTANCE_TOKEN_EXISTS
        assert break_glass_refusal(standing(LAUNCHED, current_ticket=ticket("t", 2))) is taken
        assert break_glass_refusal(standing(RUNNING, live=(unused("a"),))) is taken

    def test_never_past_a_fence(self) -> None:
        suspended = replace(RUNNING, suspended=True, compromised=True)
        compromised = replace(RUNNING, compromised=True)
        assert break_glass_refusal(standing(suspended)) is SharedReason.WORKSPACE_SUSPENDED
        assert break_glass_refusal(standing(compromised)) is SharedReason.INCARNATION_FENCED


class TestFences:
    def test_neither_hides_the_other_and_a_suspension_answers(self) -> None:
        both = workspace(suspended=True, compromised=True)
        assert both.fences == (Fence.SUSPENDED, Fence.COMPROMISED)
        assert both.fence is Fence.SUSPENDED
        assert workspace(compromised=True).fence is Fence.COMPROMISED
        assert workspace().fences == ()

    def test_a_fence_speaks_before_another_box_does(self) -> None:
        at = replace(RUNNING, compromised=True)
        verdict = decide(standing(at, live=(token("b"),)))
        denied(verdict, AdmissionLine.FENCED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)

    def test_older_evidence_is_told_of_the_newer_box_first(self) -> None:
        at = replace(RUNNING, suspended=True)
        verdict = decide(standing(at, bearer=dead("a", RevokeReason.RELAUNCHED, incarnation=1)))
        denied(verdict, AdmissionLine.SUPERSEDED, Reason.INCARNATION_SUPERSEDED, Recovery.STOP)


class TestEvidenceRequired:
    AT = workspace(evidence_required=True)

    @pytest.mark.parametrize("policy", list(BootstrapPolicy))
    def test_an_id_alone_opens_nothing(self, policy: BootstrapPolicy) -> None:
        verdict = denied(
            decide(standing(self.AT, policy=policy)),
            AdmissionLine.OPEN_DOOR,
            Reason.TICKET_REQUIRED,
            Recovery.RELAUNCH,
        )
        assert verdict.words() == (
            "an id alone admits nobody here; register with the workspace's api token, or launch it"
        )

    def test_the_api_token_does_and_lends_its_time(self) -> None:
        api = token("p", TokenKind.API, expire_time=NOW + MINUTE)
        act = minted(
            decide(standing(self.AT, bearer=api)), AdmissionLine.API_TOKEN, Outcome.RECOVERED
        )
        assert (act.expire_time, act.unproven) == (NOW + MINUTE, False)

    @pytest.mark.parametrize(
        ("api", "how"),
        [
            (token("p", TokenKind.API, expire_time=NOW), "has run out"),
            (dead("p", RevokeReason.OPERATOR, kind=TokenKind.API), "was revoked"),
        ],
    )
    def test_an_agent_whose_api_token_is_gone_is_told_so_in_words(
        self, api: Token, how: str
    ) -> None:
        verdict = decide(standing(self.AT, bearer=api))
        assert isinstance(verdict, Denied)
        assert verdict.words() == (
            f"the api token of this agent {how}; have an admin mint a new one and register with it"
        )


class TestTheOpenPolicy:
    def at(self, presents: Token | None, **facts: Any) -> Verdict:
        at = workspace(incarnation=2, registered_incarnation=1, **facts)
        lapsed = ticket("t", 2, expire_time=NOW)
        return decide(
            standing(at, presents=presents, current_ticket=lapsed, policy=BootstrapPolicy.OPEN)
        )

    def test_lets_the_holder_of_a_lapsed_ticket_in_like_any_stranger(self) -> None:
        by_ticket = self.at(ticket("t", 2, expire_time=NOW))
        assert minted(by_ticket, AdmissionLine.TICKET_EXPIRED, Outcome.BOOTSTRAPPED).unproven
        assert minted(self.at(None), AdmissionLine.TICKET_NEEDED, Outcome.BOOTSTRAPPED).unproven

    def test_a_required_ticket_is_required_after_the_first_launch_too(self) -> None:
        verdict = self.at(None, ticket_required=True)
        denied(verdict, AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED, Recovery.RELAUNCH)


class TestAHashThatIsTaken:
    def test_a_box_is_told_when_it_is_its_own_dead_tokens(self) -> None:
        used = dead("a", RevokeReason.OPERATOR, incarnation=2, minted_on="t")
        verdict = decide(
            standing(RUNNING, presents=redeemed("t", 2), ticket_token=used, **asking_for(used))
        )
        told = denied(
            verdict,
            AdmissionLine.TICKET_REDEEMED,
            SharedReason.TOKEN_HASH_IN_USE,
            Recovery.FIX_REQUEST,
        )
        assert "ended as OPERATOR" in told.words()

    def test_nobody_is_told_of_another_workspaces(self) -> None:
        foreign = dead("x", RevokeReason.OPERATOR, workspace_id=ELSEWHERE)
        verdict = decide(standing(**asking_for(foreign)))
        assert isinstance(verdict, Denied)
        assert verdict.words() == "token_sha256 belongs to another token; make a new secret"

    def test_the_proxy_token_of_the_shown_ticket_counts_as_taken(self) -> None:
        verdict = decide(
            standing(LAUNCHED, presents=ticket("t", 2), token_sha256=FRESH, proxy_sha256=FRESH)
        )
        denied(verdict, AdmissionLine.TICKET, SharedReason.TOKEN_HASH_IN_USE, Recovery.FIX_REQUEST)


def test_a_line_is_cited_by_its_name_and_its_place_is_only_where_it_is_read() -> None:
    assert [place_of(line.name) for line in LINES] == list(range(1, 17))
    assert [line.name for line in LINES] == list(AdmissionLine)[:16]
    assert place_of(AdmissionLine.UNKNOWN) == place_of(AdmissionLine.RETIRED) == 0
    assert len({line.title for line in LINES}) == 16


def test_a_refusal_cites_its_line_and_says_what_to_do() -> None:
    refusal = Denied(
        line=AdmissionLine.NEWER_TICKET,
        reason=Reason.INCARNATION_SUPERSEDED,
        recovery=Recovery.RETRY,
        retry_after=timedelta(minutes=7),
    ).refusal()
    assert refusal.reason is Reason.INCARNATION_SUPERSEDED
    assert refusal.recovery is Recovery.RETRY
    assert refusal.retry_after == timedelta(minutes=7)
    assert refusal.metadata == {"line": "NEWER_TICKET"}
