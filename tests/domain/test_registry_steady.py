"""Which heartbeats may be written later, and that no box is judged wrongly because they were."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from registry_service.domain.liveness import (
    Pulse,
    RegistrationState,
    effective_state,
    half_patience,
)
from registry_service.domain.steady import Stored, flush_period, may_wait

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
STORED = Stored(
    state="ONLINE",
    incarnation=4,
    healthy_incarnation=4,
    active_tasks=2,
    sample_error="",
    young=True,
)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@pytest.mark.parametrize(
    ("interval", "period"), [(1, 0.1), (5, 0.5), (30, 3), (50, 5), (51, 5), (3600, 5)]
)
def test_what_waits_is_written_ten_times_an_interval_and_every_five_seconds_at_least(
    interval: int, period: float
) -> None:
    assert flush_period(seconds(interval)) == seconds(period)


@pytest.mark.parametrize(("interval", "half"), [(1, 1.5), (30, 45), (3600, 5400)])
def test_a_heartbeat_may_wait_while_half_of_the_patience_is_left(
    interval: int, half: float
) -> None:
    assert half_patience(seconds(interval)) == seconds(half)


@pytest.mark.parametrize(
    ("stored", "said", "waits"),
    [
        ({}, {}, True),
        # Three intervals are half over.
        ({"young": False}, {}, False),
        ({}, {"active_tasks": 3}, False),
        ({}, {"sample_error": "x"}, False),
        ({"sample_error": "x"}, {"sample_error": "x"}, True),
        ({"sample_error": "x"}, {}, False),
        ({}, {"degraded": True}, False),
        ({"state": "DEGRADED"}, {"degraded": True}, True),
        ({"state": "DEGRADED"}, {}, False),
        # DEGRADED from the beginning: it has not been healthy yet, and does not say that it is.
        ({"state": "DEGRADED", "healthy_incarnation": 3}, {"degraded": True}, True),
        # Its first healthy heartbeat.
        ({"healthy_incarnation": 3}, {}, False),
        ({"state": "OFFLINE"}, {}, False),
        ({"state": "OFFLINE"}, {"degraded": True}, False),
        ({"state": "PENDING"}, {}, False),
        ({"state": "REMOVED"}, {}, False),
        # A newer box has registered.
        ({"incarnation": 5, "healthy_incarnation": 5}, {}, False),
        # An older one had registered last.
        ({"incarnation": 3}, {}, True),
    ],
)
def test_only_what_says_what_is_stored_already_may_wait(
    stored: dict[str, object], said: dict[str, object], waits: bool
) -> None:
    report = {"incarnation": 4, "active_tasks": 2, "sample_error": "", "degraded": False} | said
    assert may_wait(STORED._replace(**stored), **report) is waits  # type: ignore[arg-type]


def beats(interval: float, late: float) -> Iterator[float]:
    """When a box reports: each time as much too late as may be, or not at all late."""
    for number in count(1):
        yield number * interval + (late if number % 2 else 0)


def state(last_heard: float, now: float, interval: float) -> RegistrationState:
    pulse = Pulse(state=RegistrationState.ONLINE, last_heard=NOON + seconds(last_heard))
    return effective_state(
        pulse,
        up_since=NOON - timedelta(days=1),
        now=NOON + seconds(now),
        interval=seconds(interval),
    )


@pytest.mark.parametrize("interval", [1, 5, 30, 3600])
@pytest.mark.parametrize("written", ["in time", "never"])
def test_a_box_that_reports_in_time_is_never_offline(interval: float, written: str) -> None:
    """Not even if every heartbeat that waited were lost: with its process, or for want of a
    database. Another replica looks, and knows what is stored and nothing else.
    """
    stored, unwritten = 0.0, None
    at_once = 0
    for time in (each for each, _ in zip(beats(interval, interval / 4), range(100), strict=False)):
        if unwritten is not None and written == "in time":
            # Just before it was due to be written, and before the heartbeat that comes now.
            due = unwritten + min(5, interval / 10)
            assert state(stored, due, interval) is RegistrationState.ONLINE
            stored = unwritten
        assert state(stored, time, interval) is RegistrationState.ONLINE
        if seconds(time - stored) < half_patience(seconds(interval)):
            unwritten = time
        else:
            stored, unwritten, at_once = time, None, at_once + 1
    # All that waited were written, or every other one came when it could not wait.
    assert at_once == (0 if written == "in time" else 50)


@pytest.mark.parametrize("interval", [1, 5, 30, 3600])
def test_a_box_that_falls_silent_is_offline_three_intervals_after_its_last_heartbeat(
    interval: float,
) -> None:
    """Its last one may have waited: it is stored with the time it came."""
    last = 7 * interval
    assert state(last, last + 3 * interval, interval) is RegistrationState.ONLINE
    assert state(last, last + 3 * interval + 0.001, interval) is RegistrationState.OFFLINE
