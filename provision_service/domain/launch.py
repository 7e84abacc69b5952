"""The states of a launch: which may follow which, and when a claim is still held."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum, unique
from typing import Final

from provision_service.domain.lifecycle import ProvisionState, WorkspaceStatus


@unique
class WorkspaceEvent(StrEnum):
    """What changes a workspace's status; a refused launch is not among them, as it changes none."""

    PROVISION_CLAIMED = "PROVISION_CLAIMED"
    PROVISION_FAILED = "PROVISION_FAILED"
    PROVISION_LAPSED = "PROVISION_LAPSED"
    BOX_REGISTERED = "BOX_REGISTERED"
    BOX_HEALTHY = "BOX_HEALTHY"
    BOX_DEGRADED = "BOX_DEGRADED"
    BOX_SILENT = "BOX_SILENT"
    BOX_LEFT = "BOX_LEFT"
    REMOVED = "REMOVED"
    SUSPENDED = "SUSPENDED"


_S = ProvisionState
# A box may register before its launcher reports, and after the launcher's lease ran out.
_FOLLOWERS: Final = {
    _S.CLAIMED: frozenset({_S.ENV_DELIVERED, _S.FAILED, _S.SUPERSEDED, _S.LAPSED}),
    _S.ENV_DELIVERED: frozenset({_S.LAUNCHED, _S.REGISTERED, _S.FAILED, _S.SUPERSEDED, _S.LAPSED}),
    _S.LAUNCHED: frozenset({_S.REGISTERED, _S.FAILED, _S.SUPERSEDED, _S.LAPSED}),
    _S.REGISTERED: frozenset({_S.PROVEN, _S.FAILED, _S.SUPERSEDED}),
    _S.PROVEN: frozenset({_S.SUPERSEDED}),
    _S.LAPSED: frozenset({_S.REGISTERED, _S.SUPERSEDED}),
    _S.FAILED: frozenset(),
    _S.SUPERSEDED: frozenset(),
}
_HOLDS_CLAIM: Final = frozenset({_S.CLAIMED, _S.ENV_DELIVERED})

_W = WorkspaceStatus
_E = WorkspaceEvent
# SUSPENDED too: when its box is heard of again, the suspension was lifted at the registry.
_BOX_STATUSES: Final = frozenset({_W.RUNNING, _W.DEGRADED, _W.OFFLINE, _W.SUSPENDED})
_AFTER_LAUNCH_EVENT: Final = {
    _E.PROVISION_CLAIMED: _W.PROVISIONING,
    _E.BOX_REGISTERED: _W.RUNNING,
    _E.REMOVED: _W.REMOVED,
    _E.SUSPENDED: _W.SUSPENDED,
}
_AFTER_BOX_EVENT: Final = {
    _E.BOX_HEALTHY: _W.RUNNING,
    _E.BOX_DEGRADED: _W.DEGRADED,
    _E.BOX_SILENT: _W.OFFLINE,
    _E.BOX_LEFT: _W.OFFLINE,
}


def may_follow(current: ProvisionState, target: ProvisionState) -> bool:
    """Whether a launch in `current` may move to `target`; staying is no move."""
    return target in _FOLLOWERS[current]


def claim_is_live(state: ProvisionState, lease_expire_time: datetime, now: datetime) -> bool:
    """Whether a launch still holds its workspace's claim: not completed and not lapsed."""
    return state in _HOLDS_CLAIM and now < lease_expire_time


def status_after(current: WorkspaceStatus, event: WorkspaceEvent) -> WorkspaceStatus:
    """The status after an event; REMOVED stays, and RUNNING is entered by a register only.

    News of a box counts only where a box has been seen: a late heartbeat of the old box
    does not end PROVISIONING, and a failed launch says nothing while a box is registered.
    """
    if current is _W.REMOVED:
        return current
    if event in _AFTER_LAUNCH_EVENT:
        return _AFTER_LAUNCH_EVENT[event]
    if event in (_E.PROVISION_FAILED, _E.PROVISION_LAPSED):
        return _W.FAILED if current is _W.PROVISIONING else current
    return _AFTER_BOX_EVENT[event] if current in _BOX_STATUSES else current
