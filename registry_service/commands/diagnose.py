"""Diagnose: why a box is in or out, and what would let it in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.refusal import AnyReason, Recovery
from registry_service.commands import forecasting, grounds, registration_view
from registry_service.commands.forecasting import Evidence
from registry_service.commands.views import ListedToken, Registration
from registry_service.domain.admission import decide, title_of
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.standing import BootstrapPolicy, Standing
from registry_service.domain.tokens import Outcome, Token
from registry_service.domain.verdicts import Denied
from registry_service.storage import tokens, workspaces
from registry_service.storage.store import Store

TOKENS_SHOWN: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnose:
    caller: Caller
    workspace_id: WorkspaceId
    policy: BootstrapPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketStatus:
    incarnation: int
    create_time: datetime
    expire_time: datetime | None
    redeem_time: datetime | None
    revoke_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a Register with this evidence would get: an outcome, or a reason and a recovery."""

    evidence: str
    line: AdmissionLine
    outcome: Outcome | None
    reason: AnyReason | None
    recovery: Recovery | None
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    registration: Registration
    tokens: tuple[ListedToken, ...]
    ticket: TicketStatus | None
    forecasts: tuple[Forecast, ...]


def run(store: Store, command: Diagnose) -> Diagnosis:
    """Refusals: WORKSPACE_UNKNOWN, TENANT_FORBIDDEN."""
    with store.reading() as tx:
        workspace = grounds.known_to(
            command.caller,
            workspaces.read(tx, command.workspace_id),
            command.workspace_id,
        ).workspace
        registration = registration_view.read(tx, command.workspace_id)
        rows = tokens.page(
            tx, command.workspace_id, include_dead=True, before=None, limit=TOKENS_SHOWN
        )
        ticket = tokens.newest_ticket(tx, command.workspace_id)
        forecasts = tuple(
            _forecast(evidence, forecasting.standing(tx, workspace, evidence, command.policy))
            for evidence in forecasting.held(tx, workspace)
        )
    return Diagnosis(
        registration=registration,
        tokens=tuple(ListedToken(token=row.token, revoke_note=row.revoke_note) for row in rows),
        ticket=_status(ticket) if ticket else None,
        forecasts=forecasts,
    )


def _status(ticket: Token) -> TicketStatus:
    return TicketStatus(
        incarnation=ticket.incarnation,
        create_time=ticket.create_time,
        expire_time=ticket.expire_time,
        redeem_time=ticket.first_use_time,
        revoke_time=ticket.revoke_time,
    )


def _forecast(evidence: Evidence, standing: Standing) -> Forecast:
    """What `register` would decide at this moment, by the same function."""
    verdict = decide(standing)
    title = title_of(verdict.line)
    if isinstance(verdict, Denied):
        return Forecast(
            evidence=evidence.words,
            line=verdict.line,
            outcome=None,
            reason=verdict.reason,
            recovery=verdict.recovery,
            explanation=f"refused ({title}): {verdict.words()}",
        )
    return Forecast(
        evidence=evidence.words,
        line=verdict.line,
        outcome=verdict.outcome,
        reason=None,
        recovery=None,
        explanation=f"let in ({title}) as incarnation {verdict.incarnation}",
    )
