"""From a reason to what the wire says: one line per reason, and the one translator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import grpc
from sqlalchemy.exc import SQLAlchemyError

from agentworkspace.rpc.errors import FieldViolation, RpcFailure
from provision_service.domain.refusals import Reason, Recovery, Refusal
from provision_service.domain.registry_port import RegistryRefused, RegistryUnavailable
from provision_service.storage import faults

DOMAIN: Final = "agentworkspace.provision"
REASON_PREFIX: Final = "ERROR_REASON_"
Code = grpc.StatusCode


@dataclass(frozen=True, slots=True)
class Meaning:
    """How a reason travels. `recovery` is what a refusal says that names none."""

    code: grpc.StatusCode
    recovery: Recovery


def _fix(code: grpc.StatusCode) -> Meaning:
    return Meaning(code, Recovery.FIX_REQUEST)


def _retry(code: grpc.StatusCode) -> Meaning:
    return Meaning(code, Recovery.RETRY)


MEANINGS: Final[Mapping[Reason, Meaning]] = {
    Reason.INVALID_REQUEST: _fix(Code.INVALID_ARGUMENT),
    Reason.MALFORMED_MESSAGE: _fix(Code.INVALID_ARGUMENT),
    Reason.REQUEST_TOO_LARGE: _fix(Code.INVALID_ARGUMENT),
    Reason.CREDENTIAL_MISSING: _fix(Code.UNAUTHENTICATED),
    Reason.CREDENTIAL_REJECTED: _fix(Code.UNAUTHENTICATED),
    Reason.ROLE_REQUIRED: _fix(Code.PERMISSION_DENIED),
    Reason.TENANT_FORBIDDEN: _fix(Code.PERMISSION_DENIED),
    Reason.WORKSPACE_UNKNOWN: _retry(Code.NOT_FOUND),
    Reason.WORKSPACE_REMOVED: Meaning(Code.FAILED_PRECONDITION, Recovery.STOP),
    Reason.REQUEST_ID_REUSED: _fix(Code.ALREADY_EXISTS),
    Reason.TOKEN_HASH_IN_USE: _fix(Code.ALREADY_EXISTS),
    Reason.TENANT_UNKNOWN: _fix(Code.NOT_FOUND),
    Reason.ETAG_MISMATCH: _fix(Code.ABORTED),
    Reason.PARENT_INVALID: _fix(Code.FAILED_PRECONDITION),
    Reason.TEMPLATE_UNKNOWN: _fix(Code.FAILED_PRECONDITION),
    Reason.URL_FORBIDDEN: _fix(Code.INVALID_ARGUMENT),
    Reason.FORBIDDEN_ENV_KEY: _fix(Code.FAILED_PRECONDITION),
    Reason.SECRET_LIMIT_EXCEEDED: _fix(Code.FAILED_PRECONDITION),
    Reason.SECRET_UNKNOWN: _fix(Code.NOT_FOUND),
    Reason.SECRET_UNDECRYPTABLE: _fix(Code.FAILED_PRECONDITION),
    Reason.PLATFORM_CREDENTIAL_COMINGLED: _fix(Code.FAILED_PRECONDITION),
    Reason.PLATFORM_CREDENTIAL_UNKNOWN: _fix(Code.NOT_FOUND),
    Reason.BYPASS_KEY_REFUSED: _fix(Code.FAILED_PRECONDITION),
    Reason.RUNTIME_UNKNOWN: _fix(Code.FAILED_PRECONDITION),
    Reason.MODEL_REQUIRED: _fix(Code.FAILED_PRECONDITION),
    Reason.MODEL_UNREGISTERED: _fix(Code.FAILED_PRECONDITION),
    Reason.MODEL_WITHDRAWN: _fix(Code.FAILED_PRECONDITION),
    Reason.PROVIDER_AMBIGUOUS: _fix(Code.FAILED_PRECONDITION),
    Reason.MISSING_BYOK_CREDENTIAL: _fix(Code.FAILED_PRECONDITION),
    Reason.INVALID_BYOK_CREDENTIAL: _fix(Code.FAILED_PRECONDITION),
    Reason.MISSING_PLATFORM_PROXY: _fix(Code.FAILED_PRECONDITION),
    Reason.MISSING_REQUIRED_ENV: _fix(Code.FAILED_PRECONDITION),
    Reason.PROVISION_UNKNOWN: _fix(Code.NOT_FOUND),
    Reason.PROVISION_SUPERSEDED: _fix(Code.FAILED_PRECONDITION),
    Reason.BEARER_REJECTED: Meaning(Code.UNAUTHENTICATED, Recovery.REGISTER),
    Reason.REGISTRY_UNAVAILABLE: _retry(Code.UNAVAILABLE),
    Reason.RATE_LIMITED: _retry(Code.RESOURCE_EXHAUSTED),
    Reason.OVERLOADED: _retry(Code.RESOURCE_EXHAUSTED),
    Reason.STORE_UNAVAILABLE: _retry(Code.UNAVAILABLE),
    Reason.SHUTTING_DOWN: _retry(Code.UNAVAILABLE),
    Reason.CONFLICT: _retry(Code.ABORTED),
    Reason.DEADLINE: _retry(Code.DEADLINE_EXCEEDED),
    Reason.CANCELLED: _retry(Code.CANCELLED),
    Reason.NOT_AVAILABLE_YET: _fix(Code.UNIMPLEMENTED),
    Reason.INTERNAL: _retry(Code.INTERNAL),
}


def failure_of(refusal: Refusal) -> RpcFailure:
    """The refusal as the edge sends it."""
    meaning = MEANINGS[refusal.reason]
    metadata = dict(refusal.metadata)
    if refusal.violations:
        fields = dict.fromkeys(violation.field for violation in refusal.violations)
        metadata.setdefault("fields", ", ".join(fields))
    return RpcFailure(
        meaning.code,
        DOMAIN,
        REASON_PREFIX + refusal.reason,
        refusal.message,
        metadata=metadata,
        violations=[FieldViolation(each.field, each.description) for each in refusal.violations],
        retry_after=refusal.retry_after,
        recovery=refusal.recovery or meaning.recovery,
    )


def _unobserved(_reason: str) -> None:
    """Nobody counts."""


def translate(error: Exception, observe: Callable[[str], None] = _unobserved) -> RpcFailure:
    """Whatever a servicer let out, worded for the client; the exception's own text never is."""
    refusal = _refusal_of(error)
    observe(refusal.reason)
    failure = failure_of(refusal)
    failure.__cause__ = error
    return failure


def _refusal_of(error: Exception) -> Refusal:
    found: Refusal | None = None
    if isinstance(error, Refusal):
        found = error
    elif isinstance(error, SQLAlchemyError):
        found = faults.refusal_for(error)
    elif isinstance(error, RegistryUnavailable | RegistryRefused):
        found = Refusal(Reason.REGISTRY_UNAVAILABLE, "the registry did not answer; call again")
    return found or Refusal(
        Reason.INTERNAL, "a fault of the service; its log has it under the correlation id"
    )
