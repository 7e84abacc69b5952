"""Whether a box is alive.

All times are of the database's clock, and time in which no registry ran is held against no box.
Whether a workspace needs a new launch is decided in `relaunch`.
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
    """What is stored about the box that reported last."""

    # The state written last: by Register, Heartbeat, Deregister, retirement or the sweep.
    state: RegistrationState
    # When a Register or Heartbeat was last accepted; None before the first.
    last_heard: datetime | None


def effective_state(
    pulse: Pulse, *, up_since: datetime, now: datetime, interval: timedelta = HEARTBEAT_INTERVAL
) -> RegistrationState:
    """The stored state, or OFFLINE once three heartbeats were missed.

    `up_since` is since when the registry has been up: its start, or the end of an outage. A box
    cannot have missed heartbeats before it. A stored OFFLINE stays until the next heartbeat.
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
    """Half of the time after which a silent box is OFFLINE. A box that is silent longer is late."""
    return MISSED_UNTIL_OFFLINE * interval / 2
