"""Writes later how often boxes were refused, so that an operator sees one that is locked out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agentworkspace.core.ids import TokenId, WorkspaceId
from agentworkspace.core.refusal import AnyReason
from registry_service.commands.views import RegisterFailure
from registry_service.storage import refused_registers
from registry_service.storage.refused_registers import RefusalCount
from registry_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestRefused:
    """When the holder of the newest ticket was first and last told RELAUNCH."""

    ticket: TokenId
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRegisters:
    """What was counted for one workspace since the last flush."""

    workspace_id: WorkspaceId
    count: int
    last_time: datetime
    last_reason: AnyReason
    # The last refusal of recognised evidence, if there was one.
    failure: RegisterFailure | None = None
    newest: NewestRefused | None = None


def run(store: Store, refused: Sequence[RefusedRegisters]) -> frozenset[WorkspaceId]:
    """Write them; pass at most one entry a workspace. Returns the workspaces whose rows another
    transaction held: pass those again next time.
    """
    if not refused:
        return frozenset()
    with store.transaction() as tx:
        return refused_registers.count_refused(tx, [_count(item) for item in refused])


def _count(item: RefusedRegisters) -> RefusalCount:
    failure, newest = item.failure, item.newest
    return RefusalCount(
        workspace_id=item.workspace_id,
        counted=item.count,
        last_time=item.last_time,
        last_reason=item.last_reason.value,
        failure_reason=failure.reason.value if failure else None,
        failure_time=failure.time if failure else None,
        failure_incarnation=failure.incarnation if failure else None,
        refused_ticket=newest.ticket if newest else None,
        refused_first=newest.first if newest else None,
        refused_last=newest.last if newest else None,
    )
