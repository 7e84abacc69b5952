"""How a workspace stands: the stored facts, judged by the rules of liveness."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from agentworkspace.core.ids import TenantId, WorkspaceId
from registry_service.commands.views import RegisterFailure, Registration, RejectedRegisters
from registry_service.domain.liveness import (
    Pulse,
    RegistrationState,
    effective_state,
    needs_relaunch,
)
from registry_service.domain.refusals import reason_of
from registry_service.domain.standing import Fence
from registry_service.storage import pulse, registration_reads
from registry_service.storage.pulse import Uptime


def read(
    connection: Connection, workspace_id: WorkspaceId, *, heartbeat_interval: timedelta
) -> Registration:
    """Of a workspace that is known to be there."""
    row = registration_reads.one(connection, workspace_id)
    return view(row, pulse.read(connection), heartbeat_interval)


def view(row: Any, uptime: Uptime, heartbeat_interval: timedelta) -> Registration:
    fence = Fence(row.fence) if row.fence else None
    seen = Pulse(
        state=RegistrationState(row.state),
        last_heard=row.last_heartbeat_time,
        launched=row.launch_time,
        clean=row.deregistered,
        fence=fence,
    )
    state = effective_state(
        seen, up_since=uptime.up_since, now=uptime.now, interval=heartbeat_interval
    )
    silent = needs_relaunch(
        seen, up_since=uptime.up_since, now=uptime.now, interval=heartbeat_interval
    )
    return Registration(
        workspace_id=WorkspaceId(str(row.workspace_id)),
        tenant_id=TenantId(row.tenant_id),
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
        deregistered=row.deregistered,
        ticket_required=row.ticket_required,
        fence=fence,
        needs_relaunch=silent,
        silent_since=row.last_heartbeat_time if silent else None,
        rejected_registers=RejectedRegisters(
            count=row.rejected_count,
            last_time=row.rejected_last_time,
            last_reason=reason_of(row.rejected_last_reason) if row.rejected_last_reason else None,
        ),
        last_register_failure=_failure(row),
    )


def _failure(row: Any) -> RegisterFailure | None:
    if row.failure_reason is None:
        return None
    return RegisterFailure(
        reason=reason_of(row.failure_reason),
        time=row.failure_time,
        incarnation=row.failure_incarnation,
    )
