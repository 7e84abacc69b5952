"""The words of a launch's life, in one place: its states, why it was asked for, how it ended."""

from __future__ import annotations

from enum import StrEnum, unique

from provision_service.domain.launch import ProvisionReason, ProvisionState, WorkspaceStatus

__all__ = [
    "NeedsLaunchReason",
    "ProvisionOutcome",
    "ProvisionReason",
    "ProvisionState",
    "WorkspaceStatus",
]


@unique
class NeedsLaunchReason(StrEnum):
    """Why a workspace should be launched."""

    SILENT = "SILENT"
    LAPSED = "LAPSED"


@unique
class ProvisionOutcome(StrEnum):
    """What a launcher says became of a launch."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
