"""Whether only a launch can help, why, and when to look again (design, section 3, *Liveness*)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from registry_service.domain.liveness import Pulse, RegistrationState
from registry_service.domain.relaunch import (
    Clock,
    NewestTicket,
    Refusals,
    Relaunch,
    RelaunchReason,
    Situation,
    TicketState,
    check_time,
    needs_relaunch,
)

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
CLOCK = Clock(now=NOW, up_since=NOW - timedelta(days=1))
ONLINE, OFFLINE = RegistrationState.ONLINE, RegistrationState.OFFLINE


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def box(silent_for: float | None, state: RegistrationState = ONLINE) -> Pulse:
    return Pulse(state=state, last_heard=None if silent_for is None else ago(silent_for))


NOBODY = box(None, RegistrationState.PENDING)
REDEEMED = NewestTicket(expire_time=ago(-600), redeemed=True)
OUTSTANDING = NewestTicket(expire_time=ago(-600))
LAPSED = NewestTicket(expire_time=ago(60))
VOID = NewestTicket(expire_time=ago(-600), void_time=ago(45))


def situation(pulse: Pulse, ticket: NewestTicket | None = REDEEMED, **facts: Any) -> Situation:
    return Situation(pulse=pulse, ticket=ticket, **facts)


def why(found: Situation, clock: Clock = CLOCK) -> RelaunchReason | None:
    relaunch = needs_relaunch(found, clock)
    return relaunch.reason if relaunch else None


class TestTheTicket:
    def test_stands_as_it_was_used_or_as_its_time_says(self) -> None:
        assert OUTSTANDING.state(NOW) is TicketState.OUTSTANDING
        assert REDEEMED.state(NOW) is TicketState.REDEEMED
        assert LAPSED.state(NOW) is TicketState.UNUSED
        assert VOID.state(NOW) is TicketState.UNUSED
        assert NewestTicket(expire_time=NOW).state(NOW) is TicketState.UNUSED


class TestSilent:
    @pytest.mark.parametrize("state", [ONLINE, RegistrationState.DEGRADED, OFFLINE])
    def test_after_180_seconds_without_a_heartbeat(self, state: RegistrationState) -> None:
        assert why(situation(box(180, state))) is None
        found = needs_relaunch(situation(box(181, state)), CLOCK)
        assert found == Relaunch(RelaunchReason.SILENT, ago(181))

    @pytest.mark.parametrize(("interval", "bound"), [(30, 180), (10, 180), (40, 240)])
    def test_or_after_six_intervals_if_that_is_longer(self, interval: int, bound: int) -> None:
        clock = replace(CLOCK, interval=timedelta(seconds=interval))
        assert why(situation(box(bound)), clock) is None
        assert why(situation(box(bound + 1)), clock) is RelaunchReason.SILENT

    def test_time_in_which_the_registry_was_away_does_not_count(self) -> None:
        slow = replace(CLOCK, interval=timedelta(seconds=120))
        for up, silent in ((719, None), (721, RelaunchReason.SILENT)):
            clock = replace(slow, up_since=ago(up))
            assert why(situation(box(900)), clock) is silent

    def test_also_before_any_launch_and_not_of_a_box_that_never_was(self) -> None:
        assert why(situation(box(900), None)) is RelaunchReason.SILENT
        assert why(situation(NOBODY, None)) is None

    def test_a_second_death_is_noticed_like_the_first(self) -> None:
        assert why(situation(box(181), REDEEMED)) is RelaunchReason.SILENT


class TestTicketUnused:
    @pytest.mark.parametrize(("ticket", "since"), [(LAPSED, ago(60)), (VOID, ago(45))])
    def test_a_first_launch_that_nobody_came_from(
        self, ticket: NewestTicket, since: datetime
    ) -> None:
        found = needs_relaunch(situation(NOBODY, ticket), CLOCK)
        assert found == Relaunch(RelaunchReason.TICKET_UNUSED, since)

    def test_a_launch_after_the_box_before_it_went(self) -> None:
        assert why(situation(box(900, OFFLINE), LAPSED)) is RelaunchReason.TICKET_UNUSED

    def test_not_while_an_older_box_is_online(self) -> None:
        assert why(situation(box(10), LAPSED)) is None
        assert why(situation(box(91), LAPSED)) is RelaunchReason.TICKET_UNUSED

    def test_a_slow_boot_is_not_launched_again_while_its_ticket_is_good(self) -> None:
        for pulse in (NOBODY, box(86_400), box(86_400, OFFLINE)):
            assert why(situation(pulse, OUTSTANDING)) is None


class TestNewestRefused:
    REFUSED = Refusals(since=ago(200), last=ago(10))

    def test_even_while_an_older_box_heartbeats(self) -> None:
        found = needs_relaunch(situation(box(5), LAPSED, refusals=self.REFUSED), CLOCK)
        assert found == Relaunch(RelaunchReason.NEWEST_REFUSED, ago(200))

    def test_even_where_the_box_has_left(self) -> None:
        gone = situation(box(900, OFFLINE), REDEEMED, left=True, refusals=self.REFUSED)
        assert why(gone) is RelaunchReason.NEWEST_REFUSED

    def test_only_after_as_long_as_a_silence_counts(self) -> None:
        for first, last, marked in ((189, 10, False), (190, 10, True)):
            told = Refusals(since=ago(first), last=ago(last))
            assert (why(situation(box(5), refusals=told)) is not None) is marked

    def test_whoever_paused_for_two_minutes_is_gone(self) -> None:
        for last, marked in ((120, True), (121, False)):
            told = Refusals(since=ago(900), last=ago(last))
            assert (why(situation(box(5), refusals=told)) is not None) is marked


class TestRestored:
    def test_is_said_until_a_launch_and_at_once(self) -> None:
        found = situation(box(5), restored=ago(7))
        fresh = replace(CLOCK, up_since=NOW)
        assert needs_relaunch(found, fresh) == Relaunch(RelaunchReason.RESTORED, ago(7))
        assert why(replace(found, ticket=OUTSTANDING)) is None

    def test_is_never_said_of_what_was_never_launched(self) -> None:
        assert why(situation(NOBODY, None, restored=ago(7), launched=False)) is None


class TestNever:
    REASONS = (
        situation(box(900)),
        situation(NOBODY, LAPSED),
        situation(box(5), refusals=TestNewestRefused.REFUSED),
        situation(box(5), restored=ago(7)),
    )

    @pytest.mark.parametrize("found", REASONS)
    def test_of_one_that_is_suspended_retired_or_launched_by_nobody_here(
        self, found: Situation
    ) -> None:
        assert why(found) is not None
        assert why(replace(found, suspended=True)) is None
        assert why(replace(found, external_like=True)) is None
        retired = replace(found.pulse, state=RegistrationState.REMOVED)
        assert why(replace(found, pulse=retired)) is None
        assert why(replace(found, ticket=OUTSTANDING)) is None

    def test_of_one_whose_box_left_but_for_a_newest_box_that_is_refused(self) -> None:
        left = [why(replace(found, left=True)) for found in self.REASONS]
        assert left == [None, None, RelaunchReason.NEWEST_REFUSED, None]

    @pytest.mark.parametrize("found", REASONS[:3])
    def test_in_the_first_five_minutes_of_the_registry(self, found: Situation) -> None:
        assert why(found, replace(CLOCK, up_since=ago(299))) is None
        assert why(found, replace(CLOCK, up_since=ago(300))) is not None


class TestWhenToLookAgain:
    def test_of_a_quiet_workspace_never(self) -> None:
        for found in (
            situation(box(5)),
            situation(NOBODY, None),
            situation(box(900, OFFLINE), left=True),
            situation(box(900), suspended=True),
        ):
            assert check_time(found, CLOCK) is None

    def test_of_one_that_is_awaited_when_its_ticket_runs_out(self) -> None:
        assert check_time(situation(NOBODY, OUTSTANDING), CLOCK) == ago(-600)

    def test_of_a_silent_one_when_its_silence_counts(self) -> None:
        assert check_time(situation(box(100, OFFLINE)), CLOCK) == ago(-80)

    def test_of_one_that_needs_a_launch_not(self) -> None:
        assert check_time(situation(box(900)), CLOCK) is None

    def test_after_a_start_when_the_grace_is_over(self) -> None:
        clock = replace(CLOCK, up_since=ago(100))
        assert check_time(situation(box(9000, OFFLINE)), clock) == ago(-200)
        assert check_time(situation(NOBODY, LAPSED), clock) == ago(-200)

    def test_whatever_becomes_true_by_time_alone_was_foretold(self) -> None:
        """Look at each moment that was named, and nothing is found later than a moment after."""
        pulses = (NOBODY, box(5), box(100, OFFLINE), box(179, OFFLINE))
        tickets = (None, REDEEMED, OUTSTANDING, LAPSED, VOID)
        refusals = (None, Refusals(since=ago(100), last=ago(5)))
        for pulse, ticket, told, left, up in product(
            pulses, tickets, refusals, (False, True), (60, 86_400)
        ):
            found = Situation(pulse=pulse, ticket=ticket, refusals=told, left=left)
            clock = replace(CLOCK, up_since=ago(up))
            looks = self.looks(found, clock)
            for later in range(0, 1200, 7):
                moment = replace(clock, now=NOW + timedelta(seconds=later))
                # An online box is told of as OFFLINE first, by the sweep.
                steady = pulse.state is ONLINE
                if needs_relaunch(found, moment) and not steady and told is None:
                    assert any(look <= moment.now for look in looks), (found, later)

    def looks(self, found: Situation, clock: Clock) -> list[datetime]:
        looks = [clock.now] if needs_relaunch(found, clock) else []
        for _ in range(8):
            moment = check_time(found, clock)
            if moment is None:
                break
            clock = replace(clock, now=moment + timedelta(milliseconds=1))
            looks.append(clock.now)
        return looks
