"""The registry's messages in the words of the domain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal

from google.protobuf.timestamp_pb2 import Timestamp

from agentworkspace.core.secret import Secret
from agentworkspace.registry.v1 import (
    error_reason_pb2,
    token_pb2,
    token_service_pb2,
)
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as pb
from provision_service.domain.registry_port import (
    Admitted,
    Bearer,
    Delivery,
    Incarnation,
    RegisterFailure,
    Registration,
    RegistrationPage,
    RegistrationState,
    RelaunchReason,
)

_DELIVERIES: Final = {
    token_pb2.SECRET_DELIVERY_ENCLOSED: Delivery.ENCLOSED,
    token_pb2.SECRET_DELIVERY_CALLER_MADE: Delivery.CALLER_MADE,
    token_pb2.SECRET_DELIVERY_ALREADY_DELIVERED: Delivery.ALREADY_DELIVERED,
}
# A state that this version does not know is taken for PENDING, which moves nothing.
_STATES: Final = {
    pb.REGISTRATION_STATE_PENDING: RegistrationState.PENDING,
    pb.REGISTRATION_STATE_ONLINE: RegistrationState.ONLINE,
    pb.REGISTRATION_STATE_DEGRADED: RegistrationState.DEGRADED,
    pb.REGISTRATION_STATE_OFFLINE: RegistrationState.OFFLINE,
    pb.REGISTRATION_STATE_REMOVED: RegistrationState.REMOVED,
}


_RELAUNCH: Final = {
    pb.RELAUNCH_REASON_SILENT: RelaunchReason.SILENT,
    pb.RELAUNCH_REASON_TICKET_UNUSED: RelaunchReason.TICKET_UNUSED,
    pb.RELAUNCH_REASON_NEWEST_REFUSED: RelaunchReason.NEWEST_REFUSED,
    pb.RELAUNCH_REASON_RESTORED: RelaunchReason.RESTORED,
}


def admitted(response: pb.AdmitWorkspaceResponse | pb.BatchAdmission) -> Admitted:
    if not response.HasField("issued"):
        return Admitted()
    return Admitted(
        delivery=_DELIVERIES.get(response.issued.delivery),
        plaintext=_secret(response.issued.plaintext),
    )


def incarnation(response: pb.BeginIncarnationResponse) -> Incarnation:
    return Incarnation(
        number=response.incarnation,
        ticket=_secret(response.bootstrap_ticket),
        ticket_expire_time=(
            _time(response.ticket_expire_time) if response.HasField("ticket_expire_time") else None
        ),
        skipped=response.skipped,
    )


def registration(message: pb.Registration) -> Registration:
    failure = None
    if message.HasField("last_register_failure"):
        failed = message.last_register_failure
        name = error_reason_pb2.ErrorReason.Name(failed.reason)
        failure = RegisterFailure(
            reason=name.removeprefix("ERROR_REASON_"),
            time=_time(failed.time),
            incarnation=failed.incarnation,
        )
    return Registration(
        workspace_id=message.workspace_id,
        tenant_id=message.tenant_id,
        state=_STATES.get(message.state, RegistrationState.PENDING),
        incarnation=message.incarnation,
        registered_incarnation=message.registered_incarnation,
        healthy_incarnation=message.healthy_incarnation,
        register_time=_optional_time(message, "register_time"),
        left=message.left,
        suspended=pb.FENCE_SUSPENDED in message.fences,
        fenced=bool(message.fences),
        ticket_unused=message.ticket_state == pb.TICKET_STATE_UNUSED,
        relaunch=_RELAUNCH.get(message.relaunch_reason),
        relaunch_since=_optional_time(message, "needs_relaunch_since"),
        last_register_failure=failure,
    )


def page(response: pb.ListRegistrationsResponse) -> RegistrationPage:
    return RegistrationPage(
        registrations=tuple(registration(each) for each in response.registrations),
        next_page_token=response.next_page_token,
        revision=response.revision,
    )


def bearer(response: token_service_pb2.ValidateTokenResponse) -> Bearer | None:
    if response.WhichOneof("result") != "principal":
        return None
    principal = response.principal
    return Bearer(
        workspace_id=principal.workspace_id,
        tenant_id=principal.tenant_id,
        incarnation=principal.incarnation,
        evidence_backed=principal.evidence_backed,
    )


def _secret(text: str) -> Secret | None:
    return Secret(text) if text else None


def _optional_time(
    message: pb.Registration, field: Literal["register_time", "needs_relaunch_since"]
) -> datetime | None:
    return _time(getattr(message, field)) if message.HasField(field) else None


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
