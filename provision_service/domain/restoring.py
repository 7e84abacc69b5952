"""What is to be mended when one of the two databases was restored from a backup."""

from __future__ import annotations

from enum import StrEnum, unique

from provision_service.domain.lifecycle import WorkspaceStatus
from provision_service.domain.records import Workspace
from provision_service.domain.registry_port import Registration, RegistrationState


@unique
class Mending(StrEnum):
    """One thing that one side knows of a workspace, and the other has to be told."""

    # The registry does not know it.
    ADMIT = "ADMIT"
    # The registry counts fewer launches.
    REMIND = "REMIND"
    # The registry does not know that it is suspended.
    SUSPEND = "SUSPEND"
    # The registry does not know that it was removed.
    RETIRE = "RETIRE"
    # It was removed, which is not known here.
    REMOVE = "REMOVE"
    # The registry counts more launches.
    COUNT_ON = "COUNT_ON"


# What an admission tells the registry.
TOLD_BY_ADMISSION = frozenset({Mending.ADMIT, Mending.REMIND, Mending.SUSPEND})


def mendings(workspace: Workspace, seen: Registration | None) -> frozenset[Mending]:
    """What is to be mended where both sides differ; `seen` is None when the registry does not know
    the workspace.

    Whoever knows more is right: a number never falls, a removal is for ever, and only a launch
    lifts a suspension.
    """
    if workspace.remove_time is not None:
        retired = seen is not None and seen.state is RegistrationState.REMOVED
        return frozenset() if retired else frozenset({Mending.RETIRE})
    if seen is not None and seen.state is RegistrationState.REMOVED:
        return frozenset({Mending.REMOVE})
    found = set()
    number = 0 if seen is None else seen.incarnation
    if seen is None:
        found.add(Mending.ADMIT)
    elif number < workspace.incarnation:
        found.add(Mending.REMIND)
    if number > workspace.incarnation:
        found.add(Mending.COUNT_ON)
    elif workspace.status is WorkspaceStatus.SUSPENDED and not (seen and seen.suspended):
        found.add(Mending.SUSPEND)
    return frozenset(found)
