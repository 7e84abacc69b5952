"""Heartbeats that say nothing but that a box still lives may be written a moment later.

They are kept in memory and written many at once. Until then the stored time of the last heartbeat
is a little old, and every replica judges boxes by what is stored. Therefore:

- Waiting heartbeats are written every `flush_period`, a tenth of the heartbeat interval or less.
- A heartbeat may wait only while the stored one is younger than `half_patience`, half of the three
  intervals after which a box is OFFLINE. That leaves one and a half intervals, or fifteen flushes,
  to write it. If flushes fail, or a process dies with heartbeats unwritten, the next heartbeat is
  too late to wait and is written at once.
- What is stored is when the heartbeat came, not when it was written, so that a box counts as
  silent exactly as long as it was.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple

from registry_service.domain.liveness import reported_state

FLUSHES_AN_INTERVAL: Final = 10
LONGEST_FLUSH_PERIOD: Final = timedelta(seconds=5)


class Stored(NamedTuple):
    """What is stored about a box. A tuple, because one is made for every heartbeat."""

    state: str
    # Of the box that registered last.
    incarnation: int
    # The newest incarnation that sent a healthy heartbeat.
    healthy_incarnation: int
    active_tasks: int
    sample_error: str
    # Younger than `half_patience`, and no moment that has not come yet: the clock may go back.
    young: bool


def flush_period(interval: timedelta) -> timedelta:
    """How often waiting heartbeats are written, if boxes report once an `interval`."""
    return min(LONGEST_FLUSH_PERIOD, interval / FLUSHES_AN_INTERVAL)


def may_wait(
    stored: Stored, *, incarnation: int, active_tasks: int, sample_error: str, degraded: bool
) -> bool:
    """Whether a heartbeat of a box of `incarnation` says only what is stored already, and there is
    time to write it later. That is never so for a box that is stored as OFFLINE, has left or was
    replaced, nor for a box's first healthy heartbeat.
    """
    return (
        stored.young
        and stored.state == reported_state(degraded=degraded)
        and stored.incarnation <= incarnation
        and (degraded or stored.healthy_incarnation >= incarnation)
        and stored.active_tasks == active_tasks
        and stored.sample_error == sample_error
    )
