"""Makes a `Registration` of the stored facts by the rules of liveness and relaunch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentworkspace.core.ids import WorkspaceId
from registry_service.commands.views import RegisterFailure, Registration, RejectedRegisters
from registry_service.domain.liveness import Pulse, RegistrationState, effective_state
from registry_service.domain.refusals import reason_of
from registry_service.domain.relaunch import (
    Clock,
    NewestTicket,
    Refusals,
    Situation,
    check_time,
    needs_relaunch,
)
from registry_service.domain.standing import Workspace
from registry_service.storage import registration_reads, workspaces
from registry_service.storage.pulse import Uptime
from registry_service.storage.store import Transaction


def read(tx: Transaction, workspace_id: WorkspaceId) -> Registration:
    """The registration of a workspace, which must exist."""
    return read_many(tx, [workspace_id])[workspace_id]


def read_many(
    tx: Transaction, workspace_ids: Sequence[WorkspaceId]
) -> dict[WorkspaceId, Registration]:
    """The registrations of those of these workspaces that exist."""
    views = (view(*found) for found in registration_reads.many(tx, workspace_ids))
    return {each.workspace_id: each for each in views}


def view(row: Any, uptime: Uptime) -> Registration:
    workspace_id = WorkspaceId(str(row.workspace_id))
    workspace = workspaces.of_row(workspace_id, row, incarnation=row.incarnation)
    interval = uptime.heartbeat_interval
    clock = Clock(now=uptime.now, up_since=uptime.up_since, interval=interval)
    situation = _situation(row, workspace)
    state = effective_state(
        situation.pulse, up_since=uptime.up_since, now=uptime.now, interval=interval
    )
    return Registration(
        workspace_id=workspace_id,
        tenant_id=workspace.tenant_id,
        state=state,
        incarnation=row.incarnation,
        registered_incarnation=row.registered_incarnation,
        healthy_incarnation=row.healthy_incarnation,
        create_time=row.create_time,
        register_time=row.register_time,
        last_heartbeat_time=row.last_heartbeat_time,
        url=row.url,
        delivery_mode=row.delivery_mode,
        agent_card=row.agent_card,
        runtime=row.runtime,
        runtime_version=row.runtime_version,
        active_tasks=row.active_tasks,
        sample_error=row.sample_error,
        left=workspace.left,
        ticket_required=workspace.ticket_required,
        evidence_required=workspace.evidence_required,
        fences=workspace.fences,
        ticket=situation.ticket.state(uptime.now) if situation.ticket else None,
        relaunch=needs_relaunch(situation, clock),
        relaunch_check_time=check_time(situation, clock),
        changed=row.changed,
        rejected_registers=RejectedRegisters(
            count=row.rejected_count,
            last_time=row.rejected_last_time,
            last_reason=reason_of(row.rejected_last_reason) if row.rejected_last_reason else None,
        ),
        last_register_failure=_failure(row),
    )


def _situation(row: Any, workspace: Workspace) -> Situation:
    ticket = None
    if row.ticket_id is not None:
        ticket = NewestTicket(
            # A ticket always expires.
            expire_time=row.ticket_expire_time,
            redeemed=row.ticket_redeem_time is not None,
            void_time=row.ticket_void_time,
        )
    refusals = None
    if row.newest_refused and row.refused_since is not None:
        refusals = Refusals(since=row.refused_since, last=row.refused_last)
    return Situation(
        pulse=Pulse(state=RegistrationState(row.state), last_heard=row.last_heartbeat_time),
        ticket=ticket,
        refusals=refusals,
        restored=row.restore_time,
        launched=row.incarnation > 0 or row.state != RegistrationState.PENDING,
        suspended=workspace.suspended,
        external_like=workspace.external_like,
        left=workspace.left,
    )


def _failure(row: Any) -> RegisterFailure | None:
    if row.failure_reason is None:
        return None
    return RegisterFailure(
        reason=reason_of(row.failure_reason),
        time=row.failure_time,
        incarnation=row.failure_incarnation,
    )
