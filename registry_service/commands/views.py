"""Records as they are shown to readers."""

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
    """How many Registers were refused since the last one that was admitted."""

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
    """A workspace and its box, as they are now by the database's clock."""

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
    # All that stand; the first one decides the answer to a Register.
    fences: tuple[Fence, ...]
    # The ticket of the newest launch; None before any launch.
    ticket: TicketState | None
    # Why only a launch can help; None while none is needed.
    relaunch: Relaunch | None
    # When that may become true by the passing of time alone.
    relaunch_check_time: datetime | None
    # Orders the last changes of all workspaces; see `RegistrationRow.changed`.
    changed: int
    rejected_registers: RejectedRegisters
    last_register_failure: RegisterFailure | None
