"""Whether a box is alive, by the database's clock and only while the registry could hear it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, unique
from typing import Final

from registry_service.domain.standing import Fence

HEARTBEAT_INTERVAL: Final = timedelta(seconds=30)
MISSED_UNTIL_OFFLINE: Final = 3
SILENT_AT_LEAST: Final = timedelta(seconds=180)
SILENT_INTERVALS: Final = 6
GRACE_AFTER_START: Final = timedelta(minutes=5)


@unique
class RegistrationState(StrEnum):
    PENDING = "PENDING"
    ONLINE = "ONLINE"
    DEGRADED = "DEGRADED"
    OFFLINE = "OFFLINE"
    REMOVED = "REMOVED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """What is stored about one registration."""

    # The state written last: by Register, Heartbeat, Deregister, retirement or the sweep.
    state: RegistrationState
    # The last Register or Heartbeat that was admitted; None before any.
    last_heard: datetime | None
    # The newest BeginIncarnation; None before any.
    launched: datetime | None = None
    # Deregistered by the box itself.
    clean: bool = False
    fence: Fence | None = None


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


def needs_relaunch(
    pulse: Pulse, *, up_since: datetime, now: datetime, interval: timedelta = HEARTBEAT_INTERVAL
) -> bool:
    """Whether the box fell silent and only a launch can help.

    Silence is the larger of 180 s and 6 intervals, counted from the last sign of life, the
    registry's start and the newest launch, whichever is latest, so a box that is still booting
    is not launched again. Nothing is silent in the first 5 minutes of the registry.
    """
    if pulse.last_heard is None or pulse.clean or pulse.fence is Fence.SUSPENDED:
        return False
    if pulse.state in (RegistrationState.PENDING, RegistrationState.REMOVED):
        return False
    if now < up_since + GRACE_AFTER_START:
        return False
    since = max(pulse.last_heard, up_since, pulse.launched or up_since)
    return since + max(SILENT_AT_LEAST, SILENT_INTERVALS * interval) < now
