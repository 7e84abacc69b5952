"""Refused registers are allowed in a burst, then at a rate, for each workspace apart."""

from __future__ import annotations

from datetime import timedelta

from agentworkspace.server.throttle import Throttle


def test_a_burst_passes_and_the_next_one_waits() -> None:
    throttle = Throttle(burst=3, per_second=5)
    assert [throttle.take("a", 0.0) for _ in range(3)] == [None, None, None]
    assert throttle.take("a", 0.0) == timedelta(seconds=1)


def test_the_allowance_refills_with_time_and_never_beyond_the_burst() -> None:
    throttle = Throttle(burst=2, per_second=5)
    for _ in range(2):
        throttle.take("a", 0.0)
    assert throttle.take("a", 0.2) is None
    assert throttle.take("a", 0.2) is not None
    assert [throttle.take("a", 1000.0) is None for _ in range(3)] == [True, True, False]


def test_one_workspace_does_not_slow_another() -> None:
    throttle = Throttle(burst=1, per_second=5)
    assert throttle.take("a", 0.0) is None
    assert throttle.take("a", 0.0) is not None
    assert throttle.take("b", 0.0) is None


def test_memory_is_bounded_and_the_longest_unused_is_forgotten() -> None:
    throttle = Throttle(burst=1, per_second=5, most_buckets=2)
    for key in ("a", "b", "c"):
        throttle.take(key, 0.0)
    assert throttle.take("c", 0.0) is not None
    assert throttle.take("a", 0.0) is None


def test_a_bucket_that_is_full_again_is_forgotten() -> None:
    throttle = Throttle(burst=2, per_second=1)
    for key in ("a", "b", "c"):
        throttle.take(key, 0.0)
    assert len(throttle) == 3
    throttle.take("d", 3.0)
    throttle.take("d", 3.0)
    assert len(throttle) == 1
    assert throttle.take("d", 3.0) is not None
