"""Whether a box is alive, by the database's clock and only while the registry could hear it.

Whether it needs a new launch is in `relaunch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, unique
from typing import Final

HEARTBEAT_INTERVAL: Final = timedelta(seconds=30)
MISSED_UNTIL_OFFLINE: Final = 3


@unique
class RegistrationState(StrEnum):
    PENDING = "PENDING"
    ONLINE = "ONLINE"
    DEGRADED = "DEGRADED"
    OFFLINE = "OFFLINE"
    REMOVED = "REMOVED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """What is stored of the box that was heard of last."""

    # The state written last: by Register, Heartbeat, Deregister, retirement or the sweep.
    state: RegistrationState
    # The last Register or Heartbeat that was admitted; None before any.
    last_heard: datetime | None


def effective_state(
    pulse: Pulse, *, up_since: datetime, now: datetime, interval: timedelta = HEARTBEAT_INTERVAL
) -> RegistrationState:
    """The stored state, or OFFLINE once three heartbeats were missed.

    `up_since` is when the registry could last start to hear boxes: its start, or the end of
    an outage. Time before it counts for nobody. OFFLINE, once written, ends with a heartbeat.
    """
    if pulse.state not in (RegistrationState.ONLINE, RegistrationState.DEGRADED):
        return pulse.state
    if pulse.last_heard is None:
        return RegistrationState.PENDING
    deadline = max(pulse.last_heard, up_since) + MISSED_UNTIL_OFFLINE * interval
    return RegistrationState.OFFLINE if deadline < now else pulse.state


def reported_state(*, degraded: bool) -> RegistrationState:
    """The state a heartbeat writes."""
    return RegistrationState.DEGRADED if degraded else RegistrationState.ONLINE


def half_patience(interval: timedelta) -> timedelta:
    """Half of the time after which a silent box is OFFLINE: until then all is well, from then on
    it is late.
    """
    return MISSED_UNTIL_OFFLINE * interval / 2
