"""WorkspaceRegistryService: results to responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from agentworkspace.registry.v1 import workspace_registry_service_pb2 as pb
from agentworkspace.registry.v1.error_reason_pb2 import ERROR_REASON_UNSPECIFIED
from agentworkspace.registry.v1.registration_service_pb2 import (
    DELIVERY_MODE_UNSPECIFIED,
    REGISTER_OUTCOME_UNSPECIFIED,
)
from agentworkspace.rpc.wire_enums import number, number_of_text
from agentworkspace.rpc.wire_times import timestamp
from registry_service.api import wire_enums
from registry_service.api.render import tokens
from registry_service.commands.admit_workspace import AdmittedWorkspace
from registry_service.commands.begin_incarnation import BegunIncarnation, NotNeeded
from registry_service.commands.diagnose import Diagnosis, Forecast, TicketStatus
from registry_service.commands.list_registrations import RegistrationPage
from registry_service.commands.retire_workspace import RetiredWorkspace
from registry_service.commands.views import RegisterFailure, Registration, RejectedRegisters
from registry_service.domain.admission import place_of
from registry_service.domain.relaunch import RelaunchReason


def registration(found: Registration) -> pb.Registration:
    relaunch = found.relaunch
    silent = relaunch is not None and relaunch.reason is RelaunchReason.SILENT
    return pb.Registration(
        workspace_id=found.workspace_id,
        tenant_id=found.tenant_id,
        state=wire_enums.STATE[found.state],
        incarnation=found.incarnation,
        registered_incarnation=found.registered_incarnation,
        healthy_incarnation=found.healthy_incarnation,
        create_time=timestamp(found.create_time),
        register_time=timestamp(found.register_time),
        last_heartbeat_time=timestamp(found.last_heartbeat_time),
        url=found.url,
        delivery_mode=found.delivery_mode,
        delivered_by=number_of_text(
            wire_enums.DELIVERY_MODE, found.delivery_mode, DELIVERY_MODE_UNSPECIFIED
        ),
        agent_card=_card(found.agent_card),
        runtime=found.runtime,
        runtime_version=found.runtime_version,
        active_tasks=found.active_tasks,
        sample_error=found.sample_error,
        deregistered=found.left,
        left=found.left,
        ticket_required=found.ticket_required,
        evidence_required=found.evidence_required,
        fence=number(wire_enums.FENCE, next(iter(found.fences), None), pb.FENCE_UNSPECIFIED),
        fences=[wire_enums.FENCE[fence] for fence in found.fences],
        ticket_state=number(wire_enums.TICKET_STATE, found.ticket, pb.TICKET_STATE_UNSPECIFIED),
        needs_relaunch=relaunch is not None,
        relaunch_reason=number(
            wire_enums.RELAUNCH_REASON,
            relaunch.reason if relaunch else None,
            pb.RELAUNCH_REASON_UNSPECIFIED,
        ),
        needs_relaunch_since=timestamp(relaunch.since if relaunch else None),
        silent_since=timestamp(relaunch.since if relaunch and silent else None),
        relaunch_check_time=timestamp(found.relaunch_check_time),
        rejected_registers=_rejected(found.rejected_registers),
        last_register_failure=_failure(found.last_register_failure),
    )


def page(found: RegistrationPage) -> pb.ListRegistrationsResponse:
    return pb.ListRegistrationsResponse(
        registrations=map(registration, found.rows),
        next_page_token=found.next_page_token,
        revision=found.revision,
    )


def admitted(answer: AdmittedWorkspace) -> pb.AdmitWorkspaceResponse:
    return pb.AdmitWorkspaceResponse(
        workspace=registration(answer.registration) if answer.registration else None,
        issued=tokens.issued(answer.issued) if answer.issued else None,
    )


def batch_admitted(
    answers: Sequence[AdmittedWorkspace | None],
) -> pb.BatchAdmitWorkspacesResponse:
    return pb.BatchAdmitWorkspacesResponse(
        results=[
            pb.BatchAdmission(
                admitted=answer is not None,
                issued=tokens.issued(answer.issued) if answer and answer.issued else None,
            )
            for answer in answers
        ]
    )


def batch_begun(
    answers: Sequence[BegunIncarnation | None],
) -> pb.BatchBeginIncarnationsResponse:
    return pb.BatchBeginIncarnationsResponse(
        results=[begun(answer) if answer else pb.BeginIncarnationResponse() for answer in answers]
    )


def begun(answer: BegunIncarnation | NotNeeded) -> pb.BeginIncarnationResponse:
    if isinstance(answer, NotNeeded):
        return pb.BeginIncarnationResponse(incarnation=answer.incarnation, skipped=True)
    return pb.BeginIncarnationResponse(
        incarnation=answer.incarnation,
        bootstrap_ticket=answer.bootstrap_ticket.reveal() if answer.bootstrap_ticket else "",
        ticket_expire_time=timestamp(answer.ticket_expire_time),
        revoked_count=answer.revoked_count,
        delivery=wire_enums.DELIVERY[answer.delivery],
    )


def retired(answer: RetiredWorkspace) -> pb.RetireWorkspaceResponse:
    return pb.RetireWorkspaceResponse(revoked_count=answer.revoked_count, revision=answer.revision)


def diagnosis(found: Diagnosis) -> pb.DiagnoseResponse:
    return pb.DiagnoseResponse(
        registration=registration(found.registration),
        tokens=map(tokens.listed, found.tokens),
        ticket=_ticket(found.ticket),
        forecasts=map(_forecast, found.forecasts),
    )


def _card(card: Mapping[str, object] | None) -> Struct | None:
    return None if card is None else ParseDict(dict(card), Struct())


def _rejected(counted: RejectedRegisters) -> pb.RejectedRegisters:
    return pb.RejectedRegisters(
        count=counted.count,
        last_time=timestamp(counted.last_time),
        last_reason=number(wire_enums.REASON, counted.last_reason, ERROR_REASON_UNSPECIFIED),
    )


def _failure(failure: RegisterFailure | None) -> pb.RegisterFailure | None:
    if failure is None:
        return None
    return pb.RegisterFailure(
        reason=wire_enums.REASON[failure.reason],
        time=timestamp(failure.time),
        incarnation=failure.incarnation,
    )


def _ticket(ticket: TicketStatus | None) -> pb.TicketStatus | None:
    if ticket is None:
        return None
    return pb.TicketStatus(
        incarnation=ticket.incarnation,
        create_time=timestamp(ticket.create_time),
        expire_time=timestamp(ticket.expire_time),
        redeem_time=timestamp(ticket.redeem_time),
        revoke_time=timestamp(ticket.revoke_time),
    )


def _forecast(forecast: Forecast) -> pb.AdmissionForecast:
    return pb.AdmissionForecast(
        evidence=forecast.evidence,
        line=place_of(forecast.line),
        line_name=forecast.line.value,
        admission_line=wire_enums.LINE[forecast.line],
        outcome=number(wire_enums.OUTCOME, forecast.outcome, REGISTER_OUTCOME_UNSPECIFIED),
        reason=number(wire_enums.REASON, forecast.reason, ERROR_REASON_UNSPECIFIED),
        recovery=forecast.recovery or "",
        next_step=number(wire_enums.RECOVERY, forecast.recovery, pb.RECOVERY_UNSPECIFIED),
        explanation=forecast.explanation,
    )
