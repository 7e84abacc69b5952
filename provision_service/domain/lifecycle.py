"""The enums of a launch's life: its states, why it was asked for, how it ended."""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class ProvisionState(StrEnum):
    """How far a launch got; an environment that was delivered is not yet a running box."""

    CLAIMED = "CLAIMED"
    ENV_DELIVERED = "ENV_DELIVERED"
    LAUNCHED = "LAUNCHED"
    REGISTERED = "REGISTERED"
    PROVEN = "PROVEN"
    FAILED = "FAILED"
    SUPERSEDED = "SUPERSEDED"
    LAPSED = "LAPSED"


@unique
class ProvisionReason(StrEnum):
    """Why a launch was asked for."""

    CREATE = "CREATE"
    RESTART = "RESTART"
    AUTO_RESTART = "AUTO_RESTART"
    RESUME = "RESUME"
    RECREATE = "RECREATE"


@unique
class WorkspaceStatus(StrEnum):
    """What an operator is told of a workspace."""

    PENDING = "PENDING"
    PROVISIONING = "PROVISIONING"
    RUNNING = "RUNNING"
    DEGRADED = "DEGRADED"
    OFFLINE = "OFFLINE"
    FAILED = "FAILED"
    REMOVED = "REMOVED"
    SUSPENDED = "SUSPENDED"


@unique
class NeedsLaunchReason(StrEnum):
    """Why a workspace should be launched, as the registry found.

    LAPSED: the ticket of its newest launch ran out, or was voided, before a box came.
    """

    SILENT = "SILENT"
    LAPSED = "LAPSED"
    NEWEST_REFUSED = "NEWEST_REFUSED"
    RESTORED = "RESTORED"


@unique
class ProvisionOutcome(StrEnum):
    """What a launcher says became of a launch."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
