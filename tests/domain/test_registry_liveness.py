"""When a box counts as offline (design, section 3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from registry_service.domain.liveness import (
    Pulse,
    RegistrationState,
    effective_state,
)

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=1)
ONLINE, DEGRADED = RegistrationState.ONLINE, RegistrationState.DEGRADED


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def pulse(silent_for: float | None, state: RegistrationState = ONLINE) -> Pulse:
    last_heard = None if silent_for is None else NOW - seconds(silent_for)
    return Pulse(state=state, last_heard=last_heard)


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
