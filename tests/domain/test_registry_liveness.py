"""When a box counts as offline, and when as silent (design, sections 3 and 4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from registry_service.domain.liveness import (
    Pulse,
    RegistrationState,
    effective_state,
    needs_relaunch,
    reported_state,
)
from registry_service.domain.standing import Fence

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=1)
ONLINE, DEGRADED = RegistrationState.ONLINE, RegistrationState.DEGRADED


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def pulse(silent_for: float | None, state: RegistrationState = ONLINE, **facts: Any) -> Pulse:
    last_heard = None if silent_for is None else NOW - seconds(silent_for)
    return Pulse(state=state, last_heard=last_heard, **facts)


class TestState:
    @pytest.mark.parametrize("state", [ONLINE, DEGRADED])
    def test_a_box_is_offline_once_three_heartbeats_are_missing(
        self, state: RegistrationState
    ) -> None:
        assert effective_state(pulse(90, state), up_since=LONG_AGO, now=NOW) is state
        assert (
            effective_state(pulse(90.001, state), up_since=LONG_AGO, now=NOW)
            is RegistrationState.OFFLINE
        )

    def test_the_interval_is_a_setting(self) -> None:
        slow = effective_state(pulse(179), up_since=LONG_AGO, now=NOW, interval=seconds(60))
        fast = effective_state(pulse(31), up_since=LONG_AGO, now=NOW, interval=seconds(10))
        assert (slow, fast) == (ONLINE, RegistrationState.OFFLINE)

    def test_time_in_which_the_registry_was_down_does_not_count(self) -> None:
        down_until = NOW - seconds(80)
        assert effective_state(pulse(3600), up_since=down_until, now=NOW) is ONLINE
        down_until = NOW - seconds(91)
        assert (
            effective_state(pulse(3600), up_since=down_until, now=NOW) is RegistrationState.OFFLINE
        )

    @pytest.mark.parametrize(
        "state", [RegistrationState.PENDING, RegistrationState.OFFLINE, RegistrationState.REMOVED]
    )
    def test_a_restart_of_the_registry_revives_nobody(self, state: RegistrationState) -> None:
        assert effective_state(pulse(10, state), up_since=NOW, now=NOW) is state

    def test_a_box_never_heard_of_is_pending(self) -> None:
        assert effective_state(pulse(None), up_since=LONG_AGO, now=NOW) is RegistrationState.PENDING

    @pytest.mark.parametrize("last_heard", [None, 10, 3600])
    @pytest.mark.parametrize("state", [RegistrationState.PENDING, RegistrationState.REMOVED])
    def test_silence_changes_nothing_for_a_retired_or_unborn_box(
        self, state: RegistrationState, last_heard: float | None
    ) -> None:
        assert effective_state(pulse(last_heard, state), up_since=LONG_AGO, now=NOW) is state

    def test_a_heartbeat_reports_online_or_degraded(self) -> None:
        assert reported_state(degraded=False) is ONLINE
        assert reported_state(degraded=True) is DEGRADED


class TestSilence:
    @pytest.mark.parametrize("state", [ONLINE, DEGRADED, RegistrationState.OFFLINE])
    def test_a_box_is_silent_after_180_seconds(self, state: RegistrationState) -> None:
        assert not needs_relaunch(pulse(180, state), up_since=LONG_AGO, now=NOW)
        assert needs_relaunch(pulse(181, state), up_since=LONG_AGO, now=NOW)

    @pytest.mark.parametrize(("interval", "bound"), [(30, 180), (10, 180), (40, 240)])
    def test_or_six_intervals_if_that_is_longer(self, interval: float, bound: float) -> None:
        def silent(count: float) -> bool:
            return needs_relaunch(
                pulse(count), up_since=LONG_AGO, now=NOW, interval=seconds(interval)
            )

        assert (silent(bound), silent(bound + 1)) == (False, True)

    def test_nobody_is_silent_in_the_first_five_minutes_of_the_registry(self) -> None:
        gone = pulse(86_400)
        assert not needs_relaunch(gone, up_since=NOW - seconds(299), now=NOW)
        assert needs_relaunch(gone, up_since=NOW - seconds(300), now=NOW)

    def test_silence_counts_from_the_registrys_start(self) -> None:
        slow = seconds(120)
        for up, silent in ((719, False), (721, True)):
            up_since = NOW - seconds(up)
            assert needs_relaunch(pulse(900), up_since=up_since, now=NOW, interval=slow) is silent

    def test_a_box_that_is_still_booting_is_not_launched_again(self) -> None:
        for launched, silent in ((170, False), (190, True)):
            again = pulse(3600, launched=NOW - seconds(launched))
            assert needs_relaunch(again, up_since=LONG_AGO, now=NOW) is silent

    def test_a_second_death_is_noticed_like_the_first(self) -> None:
        twice = pulse(181, launched=NOW - seconds(600))
        assert needs_relaunch(twice, up_since=LONG_AGO, now=NOW)

    def test_never_for_a_box_that_deregistered(self) -> None:
        gone = pulse(3600, RegistrationState.OFFLINE, clean=True)
        assert not needs_relaunch(gone, up_since=LONG_AGO, now=NOW)

    def test_never_for_a_suspended_workspace_but_for_a_compromised_one(self) -> None:
        suspended = pulse(3600, fence=Fence.SUSPENDED)
        compromised = pulse(3600, fence=Fence.COMPROMISED)
        assert not needs_relaunch(suspended, up_since=LONG_AGO, now=NOW)
        assert needs_relaunch(compromised, up_since=LONG_AGO, now=NOW)

    @pytest.mark.parametrize("state", [RegistrationState.PENDING, RegistrationState.REMOVED])
    def test_never_for_a_retired_or_unborn_one(self, state: RegistrationState) -> None:
        assert not needs_relaunch(pulse(3600, state), up_since=LONG_AGO, now=NOW)
        assert not needs_relaunch(pulse(None), up_since=LONG_AGO, now=NOW)
