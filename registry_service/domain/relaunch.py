"""Decides whether only a new launch can help a workspace, and why.

All times are of the database's clock. Registers without recognised evidence never count, or a
stranger could force a launch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, unique
from typing import Final

from registry_service.domain.liveness import (
    HEARTBEAT_INTERVAL,
    Pulse,
    RegistrationState,
    effective_state,
)

SILENT_AT_LEAST: Final = timedelta(seconds=180)
SILENT_INTERVALS: Final = 6
GRACE_AFTER_START: Final = timedelta(minutes=5)
# A box that is refused tries again at least once a minute; one that pauses longer has given up.
REFUSED_GAP: Final = timedelta(minutes=2)
_ALIVE: Final = (RegistrationState.ONLINE, RegistrationState.DEGRADED)


@unique
class RelaunchReason(StrEnum):
    """Why a workspace needs a new launch."""

    SILENT = "SILENT"
    TICKET_UNUSED = "TICKET_UNUSED"
    NEWEST_REFUSED = "NEWEST_REFUSED"
    RESTORED = "RESTORED"


@unique
class TicketState(StrEnum):
    """The state of the ticket of the newest launch."""

    OUTSTANDING = "OUTSTANDING"
    REDEEMED = "REDEEMED"
    # It expired or was voided before anybody redeemed it: that launch has lapsed.
    UNUSED = "UNUSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestTicket:
    """The ticket issued last for the newest launch."""

    expire_time: datetime
    redeemed: bool = False
    void_time: datetime | None = None

    def end(self) -> datetime:
        """When it expired or was voided, whichever came first; in the future while it is live."""
        return min(self.expire_time, self.void_time or self.expire_time)

    def state(self, now: datetime) -> TicketState:
        if self.redeemed:
            return TicketState.REDEEMED
        return TicketState.UNUSED if self.end() <= now else TicketState.OUTSTANDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """The holder of the newest ticket was told RELAUNCH, from `since` to `last`, with no pause
    longer than `REFUSED_GAP` and no admission by that ticket in between."""

    since: datetime
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All facts about a workspace that decide whether it needs a launch."""

    pulse: Pulse
    # None before any launch.
    ticket: NewestTicket | None = None
    refusals: Refusals | None = None
    # When it was marked as restored from a backup; None when it is not.
    restored: datetime | None = None
    # Whether a launch was ever begun, or a box ever registered without one.
    launched: bool = True
    suspended: bool = False
    # See `Workspace.external_like`.
    external_like: bool = False
    left: bool = False


@dataclass(frozen=True, slots=True)
class Relaunch:
    reason: RelaunchReason
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The time now, and since when the registry has been up without a gap."""

    now: datetime
    up_since: datetime
    interval: timedelta = HEARTBEAT_INTERVAL

    @property
    def silence(self) -> timedelta:
        """How long a box must be silent, or be refused, before it needs a launch."""
        return max(SILENT_AT_LEAST, SILENT_INTERVALS * self.interval)


def needs_relaunch(situation: Situation, clock: Clock) -> Relaunch | None:
    """Why it needs a launch now, or None.

    In the registry's first five minutes only RESTORED is answered, which no report of a box could
    change: all boxes may just be on their way back.
    """
    if _apart(situation) or _awaited(situation, clock):
        return None
    if situation.restored and situation.launched and not situation.left:
        return Relaunch(RelaunchReason.RESTORED, situation.restored)
    if clock.now < clock.up_since + GRACE_AFTER_START:
        return None
    return _unused(situation, clock) or _silent(situation, clock) or _refused(situation, clock)


def check_time(situation: Situation, clock: Clock) -> datetime | None:
    """When `needs_relaunch` may become true by the passing of time alone.

    None while it is true, and while only a change that watchers are told of could make it true:
    for instance, an online box goes OFFLINE first.
    """
    if _apart(situation) or needs_relaunch(situation, clock):
        return None
    after_grace = clock.up_since + GRACE_AFTER_START
    ticket = situation.ticket
    if ticket and _awaited(situation, clock):
        return max(ticket.end(), after_grace)
    times = []
    if ticket and not ticket.redeemed and not situation.left and not _online(situation, clock):
        times.append(ticket.end())
    heard = situation.pulse.last_heard
    if heard and not situation.left and not _online(situation, clock):
        times.append(max(heard, clock.up_since) + clock.silence)
    refusals = situation.refusals
    if refusals and clock.now - refusals.last <= REFUSED_GAP:
        times.append(max(refusals.since + clock.silence, clock.now + clock.interval))
    later = [max(time, after_grace) for time in times if max(time, after_grace) >= clock.now]
    return min(later, default=None)


def _apart(situation: Situation) -> bool:
    """Whether no launch is ever asked for, whatever happens."""
    retired = situation.pulse.state is RegistrationState.REMOVED
    return retired or situation.external_like or situation.suspended


def _awaited(situation: Situation, clock: Clock) -> bool:
    """Whether the newest box can still come with its ticket."""
    ticket = situation.ticket
    return ticket is not None and ticket.state(clock.now) is TicketState.OUTSTANDING


def _online(situation: Situation, clock: Clock) -> bool:
    state = effective_state(
        situation.pulse, up_since=clock.up_since, now=clock.now, interval=clock.interval
    )
    return state in _ALIVE


def _unused(situation: Situation, clock: Clock) -> Relaunch | None:
    ticket = situation.ticket
    if ticket is None or situation.left or _online(situation, clock):
        return None
    if ticket.state(clock.now) is not TicketState.UNUSED:
        return None
    heard = situation.pulse.last_heard
    return Relaunch(RelaunchReason.TICKET_UNUSED, max(ticket.end(), heard or ticket.end()))


def _silent(situation: Situation, clock: Clock) -> Relaunch | None:
    heard = situation.pulse.last_heard
    if heard is None or situation.left or situation.pulse.state is RegistrationState.PENDING:
        return None
    if max(heard, clock.up_since) + clock.silence >= clock.now:
        return None
    return Relaunch(RelaunchReason.SILENT, heard)


def _refused(situation: Situation, clock: Clock) -> Relaunch | None:
    refusals = situation.refusals
    if refusals is None or clock.now - refusals.last > REFUSED_GAP:
        return None
    if refusals.last - refusals.since < clock.silence:
        return None
    return Relaunch(RelaunchReason.NEWEST_REFUSED, refusals.since)
