"""Which boxes fell silent and are to be launched again, and how many of them at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from provision_service.domain.lifecycle import WorkspaceStatus

MIN_SILENCE: Final = timedelta(seconds=180)
SILENT_INTERVALS: Final = 6
GRACE_AFTER_REGISTRY_START: Final = timedelta(minutes=5)
MAX_PERCENT_A_MINUTE: Final = 5
_HAD_A_BOX: Final = frozenset(
    {WorkspaceStatus.RUNNING, WorkspaceStatus.DEGRADED, WorkspaceStatus.OFFLINE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxLife:
    """What is known of one workspace's box; times are of the database's clock.

    `last_seen_time` is the last heartbeat, or the register when there was none yet.
    """

    workspace_id: str
    status: WorkspaceStatus
    last_seen_time: datetime
    heartbeat_interval: timedelta
    external_like: bool = False
    deregistered: bool = False
    retired: bool = False
    suspended: bool = False
    claim_live: bool = False


@dataclass(frozen=True, slots=True)
class Marking:
    """Workspaces to mark now, and how many silent ones are held back by the limit."""

    workspace_ids: tuple[str, ...]
    held_back: int

    @property
    def stopped(self) -> bool:
        """Whether the limit was hit, which the reconciler must say."""
        return self.held_back > 0


def silence_limit(heartbeat_interval: timedelta) -> timedelta:
    """How long a box may be silent: the larger of 180 s and six of its intervals."""
    return max(MIN_SILENCE, SILENT_INTERVALS * heartbeat_interval)


def is_silent(box: BoxLife, *, registry_up_since: datetime, now: datetime) -> bool:
    """Whether the box sent nothing for too long while the registry could have heard it."""
    if now - registry_up_since < GRACE_AFTER_REGISTRY_START:
        return False
    listened_since = max(box.last_seen_time, registry_up_since)
    return now - listened_since >= silence_limit(box.heartbeat_interval)


def needs_launch(box: BoxLife, *, registry_up_since: datetime, now: datetime) -> bool:
    """Whether the box is to be launched again: silent, and not meant to be.

    Refused registers are no input: a stranger could send them.
    """
    meant = box.external_like or box.deregistered or box.retired or box.suspended
    if meant or box.claim_live or box.status not in _HAD_A_BOX:
        return False
    return is_silent(box, registry_up_since=registry_up_since, now=now)


def allowed_a_minute(workspaces: int) -> int:
    """How many may be marked within a minute: five in a hundred, at least one."""
    return max(1, workspaces * MAX_PERCENT_A_MINUTE // 100)


def choose_marks(silent: Sequence[str], *, workspaces: int, marked_last_minute: int) -> Marking:
    """The first silent ones that the limit still admits; the rest is held back."""
    room = max(0, allowed_a_minute(workspaces) - marked_last_minute)
    chosen = tuple(silent[:room])
    return Marking(chosen, len(silent) - len(chosen))
