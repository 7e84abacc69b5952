"""What readers are shown of stored records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from agentworkspace.core.ids import TenantId, WorkspaceId
from agentworkspace.core.refusal import AnyReason
from registry_service.domain.liveness import RegistrationState
from registry_service.domain.relaunch import Relaunch, TicketState
from registry_service.domain.standing import Fence
from registry_service.domain.tokens import Token


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedToken:
    token: Token
    revoke_note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRegisters:
    """Registers refused since the last admission."""

    count: int
    last_time: datetime | None
    last_reason: AnyReason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterFailure:
    """The last refusal of recognised evidence."""

    reason: AnyReason
    time: datetime
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """How a workspace stands; liveness by the database's clock."""

    workspace_id: WorkspaceId
    tenant_id: TenantId
    state: RegistrationState
    incarnation: int
    registered_incarnation: int
    healthy_incarnation: int
    create_time: datetime
    register_time: datetime | None
    last_heartbeat_time: datetime | None
    url: str
    delivery_mode: str
    agent_card: Mapping[str, object] | None
    runtime: str
    runtime_version: str
    active_tasks: int
    sample_error: str
    left: bool
    ticket_required: bool
    evidence_required: bool
    # Every one that stands; the first one answers.
    fences: tuple[Fence, ...]
    # Of the newest launch; None before any.
    ticket: TicketState | None
    # Why only a launch can help; None while none is needed.
    relaunch: Relaunch | None
    # When that may become true by the passing of time alone.
    relaunch_check_time: datetime | None
    # Where its last change stands among those of all workspaces.
    changed: int
    rejected_registers: RejectedRegisters
    last_register_failure: RegisterFailure | None
