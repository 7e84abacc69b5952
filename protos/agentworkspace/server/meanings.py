"""The status code of each reason, and the recovery of a refusal that names none itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import grpc

from agentworkspace.core.refusal import AnyReason, Recovery, Refusal, SharedReason
from agentworkspace.rpc.errors import RpcFailure
from agentworkspace.rpc.idempotency import CHANGES_NOTHING

REASON_PREFIX: Final = "ERROR_REASON_"
_Code = grpc.StatusCode


@dataclass(frozen=True, slots=True)
class Meaning:
    """A reason's status code, and its recovery where the refusal does not name one."""

    code: grpc.StatusCode
    recovery: Recovery


def fix(code: grpc.StatusCode) -> Meaning:
    """The meaning of a reason for which the request itself must be changed."""
    return Meaning(code, Recovery.FIX_REQUEST)


def retry(code: grpc.StatusCode) -> Meaning:
    """The meaning of a reason after which the same call may succeed later."""
    return Meaning(code, Recovery.RETRY)


# Only a removed or suspended workspace means STOP by default. Where a newer box has replaced this
# one, the refusal itself says STOP.
SHARED_MEANINGS: Final[Mapping[AnyReason, Meaning]] = {
    SharedReason.INVALID_REQUEST: fix(_Code.INVALID_ARGUMENT),
    SharedReason.MALFORMED_MESSAGE: fix(_Code.INVALID_ARGUMENT),
    SharedReason.REQUEST_TOO_LARGE: fix(_Code.INVALID_ARGUMENT),
    SharedReason.CREDENTIAL_MISSING: fix(_Code.UNAUTHENTICATED),
    SharedReason.CREDENTIAL_REJECTED: fix(_Code.UNAUTHENTICATED),
    SharedReason.ROLE_REQUIRED: fix(_Code.PERMISSION_DENIED),
    SharedReason.TENANT_FORBIDDEN: fix(_Code.PERMISSION_DENIED),
    SharedReason.URL_FORBIDDEN: fix(_Code.INVALID_ARGUMENT),
    SharedReason.WORKSPACE_UNKNOWN: retry(_Code.NOT_FOUND),
    SharedReason.WORKSPACE_REMOVED: Meaning(_Code.FAILED_PRECONDITION, Recovery.STOP),
    SharedReason.WORKSPACE_SUSPENDED: Meaning(_Code.FAILED_PRECONDITION, Recovery.STOP),
    SharedReason.INCARNATION_FENCED: fix(_Code.FAILED_PRECONDITION),
    SharedReason.TOKEN_HASH_IN_USE: fix(_Code.ALREADY_EXISTS),
    SharedReason.REQUEST_ID_REUSED: fix(_Code.ALREADY_EXISTS),
    SharedReason.BEARER_REJECTED: Meaning(_Code.UNAUTHENTICATED, Recovery.RELAUNCH),
    SharedReason.RATE_LIMITED: retry(_Code.RESOURCE_EXHAUSTED),
    SharedReason.OVERLOADED: retry(_Code.RESOURCE_EXHAUSTED),
    SharedReason.STORE_UNAVAILABLE: retry(_Code.UNAVAILABLE),
    SharedReason.OUTCOME_UNKNOWN: retry(_Code.UNAVAILABLE),
    SharedReason.SHUTTING_DOWN: retry(_Code.UNAVAILABLE),
    SharedReason.CONFLICT: retry(_Code.ABORTED),
    SharedReason.DEADLINE: retry(_Code.DEADLINE_EXCEEDED),
    SharedReason.CANCELLED: retry(_Code.CANCELLED),
    SharedReason.NOT_AVAILABLE_YET: fix(_Code.UNIMPLEMENTED),
    SharedReason.INTERNAL: retry(_Code.INTERNAL),
}


def failure_of(refusal: Refusal, domain: str, meanings: Mapping[AnyReason, Meaning]) -> RpcFailure:
    """The refusal as a failure of the service with this ErrorInfo `domain`.

    KeyError when `meanings` lacks its reason.
    """
    meaning = meanings[refusal.reason]
    metadata = dict(refusal.metadata)
    if refusal.violations:
        fields = dict.fromkeys(violation.field for violation in refusal.violations)
        metadata.setdefault("fields", ", ".join(fields))
    return RpcFailure(
        meaning.code,
        domain,
        REASON_PREFIX + refusal.reason,
        refusal.message,
        metadata=metadata,
        violations=refusal.violations,
        retry_after=refusal.retry_after,
        recovery=refusal.recovery or meaning.recovery,
    )


def too_late(method: str) -> Refusal:
    """The refusal of a call whose deadline passed while its method (by full name) was at work."""
    said = "the deadline passed before the answer was ready"
    if method in CHANGES_NOTHING:
        return Refusal(SharedReason.DEADLINE, f"{said}; call again with more time")
    return Refusal(
        SharedReason.DEADLINE,
        f"{said}; a change may have been made: repeat the call with the same request_id and more"
        " time",
    )
