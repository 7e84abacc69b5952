"""The registry's messages in the words of the domain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

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
)

_DELIVERIES: Final = {
    token_pb2.SECRET_DELIVERY_ENCLOSED: Delivery.ENCLOSED,
    token_pb2.SECRET_DELIVERY_CALLER_MADE: Delivery.CALLER_MADE,
    token_pb2.SECRET_DELIVERY_ALREADY_DELIVERED: Delivery.ALREADY_DELIVERED,
}
# A state that this version does not know is one that it must not act on.
_STATES: Final = {
    pb.REGISTRATION_STATE_PENDING: RegistrationState.PENDING,
    pb.REGISTRATION_STATE_ONLINE: RegistrationState.ONLINE,
    pb.REGISTRATION_STATE_DEGRADED: RegistrationState.DEGRADED,
    pb.REGISTRATION_STATE_OFFLINE: RegistrationState.OFFLINE,
    pb.REGISTRATION_STATE_REMOVED: RegistrationState.REMOVED,
}


def admitted(response: pb.AdmitWorkspaceResponse) -> Admitted:
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
        register_time=_time(message.register_time) if message.HasField("register_time") else None,
        deregistered=message.deregistered,
        suspended=message.fence == pb.FENCE_SUSPENDED,
        needs_relaunch=message.needs_relaunch,
        silent_since=_time(message.silent_since) if message.HasField("silent_since") else None,
        last_register_failure=failure,
    )


def page(response: pb.ListRegistrationsResponse) -> RegistrationPage:
    return RegistrationPage(
        registrations=tuple(registration(each) for each in response.registrations),
        next_page_token=response.next_page_token,
    )


def bearer(response: token_service_pb2.ValidateTokenResponse) -> Bearer | None:
    if response.WhichOneof("result") != "principal":
        return None
    principal = response.principal
    return Bearer(
        workspace_id=principal.workspace_id,
        tenant_id=principal.tenant_id,
        incarnation=principal.incarnation,
    )


def _secret(text: str) -> Secret | None:
    return Secret(text) if text else None


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
