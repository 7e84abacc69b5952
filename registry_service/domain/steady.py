"""Heartbeats that say nothing but that a box still lives may be written a moment later.

They are kept in memory and written together. What is stored is then a little older than what is
known, and by what is stored a box is judged, on every replica, so:

- What may wait is written every `flush_period`, a tenth of the heartbeat interval or less.
- It may wait only while what is stored is younger than `half_patience`, half of the three
  intervals that make a box OFFLINE. So one and a half, fifteen flushes, are left to write it in;
  and once flushes fail, or a process took what it knew along, the next heartbeat does not wait.
- It is stored with the time it came, not with the time it was written: silence is as long as the
  box was silent.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple

from registry_service.domain.liveness import reported_state

FLUSHES_AN_INTERVAL: Final = 10
LONGEST_FLUSH_PERIOD: Final = timedelta(seconds=5)


class Stored(NamedTuple):
    """What is stored of a box. A tuple: one is made for every heartbeat."""

    state: str
    # Of the box that registered last.
    incarnation: int
    # The newest that sent a healthy heartbeat.
    healthy_incarnation: int
    active_tasks: int
    sample_error: str
    # Younger than `half_patience`, and no moment that has not come yet: the clock may go back.
    young: bool


def flush_period(interval: timedelta) -> timedelta:
    """How often what may wait is written, where boxes report once an `interval`."""
    return min(LONGEST_FLUSH_PERIOD, interval / FLUSHES_AN_INTERVAL)


def may_wait(
    stored: Stored, *, incarnation: int, active_tasks: int, sample_error: str, degraded: bool
) -> bool:
    """Whether this heartbeat, of a box of `incarnation`, says what is stored already, and there is
    time to write it later. A box that is OFFLINE, has left or was replaced never says what is
    stored, nor does a healthy heartbeat that is its first.
    """
    return (
        stored.young
        and stored.state == reported_state(degraded=degraded)
        and stored.incarnation <= incarnation
        and (degraded or stored.healthy_incarnation >= incarnation)
        and stored.active_tasks == active_tasks
        and stored.sample_error == sample_error
    )
