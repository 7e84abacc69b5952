"""From an exception to what the client may see: one code and one default recovery a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import grpc

from agentworkspace.rpc.errors import FieldViolation, RpcFailure
from registry_service.domain.refusals import Reason, Recovery, Refusal
from registry_service.storage.faults import refusal_of

DOMAIN: Final = "agentworkspace.registry"
PREFIX: Final = "ERROR_REASON_"
_Code = grpc.StatusCode


@dataclass(frozen=True, slots=True)
class Meaning:
    """How a reason travels. `recovery` is what a refusal says that names none."""

    code: grpc.StatusCode
    recovery: Recovery


MEANINGS: Final[Mapping[Reason, Meaning]] = {
    Reason.INVALID_REQUEST: Meaning(_Code.INVALID_ARGUMENT, Recovery.FIX_REQUEST),
    Reason.MALFORMED_MESSAGE: Meaning(_Code.INVALID_ARGUMENT, Recovery.FIX_REQUEST),
    Reason.REQUEST_TOO_LARGE: Meaning(_Code.INVALID_ARGUMENT, Recovery.FIX_REQUEST),
    Reason.CREDENTIAL_MISSING: Meaning(_Code.UNAUTHENTICATED, Recovery.FIX_REQUEST),
    Reason.CREDENTIAL_REJECTED: Meaning(_Code.UNAUTHENTICATED, Recovery.FIX_REQUEST),
    Reason.ROLE_REQUIRED: Meaning(_Code.PERMISSION_DENIED, Recovery.FIX_REQUEST),
    Reason.TENANT_FORBIDDEN: Meaning(_Code.PERMISSION_DENIED, Recovery.FIX_REQUEST),
    Reason.TENANT_MISMATCH: Meaning(_Code.ALREADY_EXISTS, Recovery.FIX_REQUEST),
    Reason.WORKSPACE_UNKNOWN: Meaning(_Code.NOT_FOUND, Recovery.RETRY),
    Reason.WORKSPACE_REMOVED: Meaning(_Code.FAILED_PRECONDITION, Recovery.STOP),
    Reason.WORKSPACE_SUSPENDED: Meaning(_Code.FAILED_PRECONDITION, Recovery.STOP),
    Reason.TOKEN_UNKNOWN: Meaning(_Code.NOT_FOUND, Recovery.FIX_REQUEST),
    Reason.TOKEN_NOT_LIVE: Meaning(_Code.FAILED_PRECONDITION, Recovery.FIX_REQUEST),
    Reason.TOKEN_KIND: Meaning(_Code.FAILED_PRECONDITION, Recovery.FIX_REQUEST),
    Reason.TOKEN_HASH_IN_USE: Meaning(_Code.ALREADY_EXISTS, Recovery.FIX_REQUEST),
    Reason.INSTANCE_TOKEN_EXISTS: Meaning(_Code.FAILED_PRECONDITION, Recovery.FIX_REQUEST),
    Reason.REQUEST_ID_REUSED: Meaning(_Code.ALREADY_EXISTS, Recovery.FIX_REQUEST),
    Reason.BEARER_MISSING: Meaning(_Code.UNAUTHENTICATED, Recovery.RELAUNCH),
    Reason.BEARER_REJECTED: Meaning(_Code.UNAUTHENTICATED, Recovery.RELAUNCH),
    # STOP is never a default: only whoever knows that a newer box has registered may say it.
    Reason.INCARNATION_SUPERSEDED: Meaning(_Code.FAILED_PRECONDITION, Recovery.RETRY),
    Reason.TICKET_REQUIRED: Meaning(_Code.UNAUTHENTICATED, Recovery.RELAUNCH),
    Reason.TICKET_EXPIRED: Meaning(_Code.UNAUTHENTICATED, Recovery.RELAUNCH),
    Reason.RATE_LIMITED: Meaning(_Code.RESOURCE_EXHAUSTED, Recovery.RETRY),
    Reason.OVERLOADED: Meaning(_Code.RESOURCE_EXHAUSTED, Recovery.RETRY),
    Reason.STORE_UNAVAILABLE: Meaning(_Code.UNAVAILABLE, Recovery.RETRY),
    Reason.SHUTTING_DOWN: Meaning(_Code.UNAVAILABLE, Recovery.RETRY),
    Reason.CONFLICT: Meaning(_Code.ABORTED, Recovery.RETRY),
    Reason.DEADLINE: Meaning(_Code.DEADLINE_EXCEEDED, Recovery.RETRY),
    Reason.CANCELLED: Meaning(_Code.CANCELLED, Recovery.RETRY),
    Reason.NOT_AVAILABLE_YET: Meaning(_Code.UNIMPLEMENTED, Recovery.FIX_REQUEST),
    Reason.INTERNAL: Meaning(_Code.INTERNAL, Recovery.RETRY),
    Reason.INCARNATION_FENCED: Meaning(_Code.FAILED_PRECONDITION, Recovery.FIX_REQUEST),
}


def failure_of(refusal: Refusal) -> RpcFailure:
    meaning = MEANINGS[refusal.reason]
    return RpcFailure(
        meaning.code,
        DOMAIN,
        PREFIX + refusal.reason,
        refusal.message,
        metadata=refusal.metadata,
        violations=[FieldViolation(each.field, each.description) for each in refusal.violations],
        retry_after=refusal.retry_after,
        recovery=refusal.recovery or meaning.recovery,
    )


def translate(error: Exception) -> RpcFailure:
    """What the client may see of anything a servicer let out. Its own text only of a Refusal."""
    if isinstance(error, Refusal):
        return failure_of(error)
    # A command's store faults were worded where it ran; this is for work outside of commands.
    refusal = refusal_of(error)
    if refusal is not None:
        return failure_of(refusal)
    if isinstance(error, TimeoutError):
        return failure_of(
            Refusal(Reason.DEADLINE, "the deadline passed before the answer was ready")
        )
    return failure_of(
        Refusal(Reason.INTERNAL, "a fault of the service; its log has it under the correlation id")
    )
