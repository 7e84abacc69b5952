"""Why the service says no: one reason, one public sentence, and what the caller can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum, unique

from typing_extensions import override


@unique
class Reason(StrEnum):
    """Every failure mode of the API, by the short name of its wire enum value."""

    INVALID_REQUEST = "INVALID_REQUEST"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    MALFORMED_MESSAGE = "MALFORMED_MESSAGE"
    CREDENTIAL_MISSING = "CREDENTIAL_MISSING"
    CREDENTIAL_REJECTED = "CREDENTIAL_REJECTED"
    ROLE_REQUIRED = "ROLE_REQUIRED"
    TENANT_FORBIDDEN = "TENANT_FORBIDDEN"
    TENANT_UNKNOWN = "TENANT_UNKNOWN"
    WORKSPACE_UNKNOWN = "WORKSPACE_UNKNOWN"
    WORKSPACE_REMOVED = "WORKSPACE_REMOVED"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    PARENT_INVALID = "PARENT_INVALID"
    TEMPLATE_UNKNOWN = "TEMPLATE_UNKNOWN"
    URL_FORBIDDEN = "URL_FORBIDDEN"
    FORBIDDEN_ENV_KEY = "FORBIDDEN_ENV_KEY"
    SECRET_LIMIT_EXCEEDED = "SECRET_LIMIT_EXCEEDED"
    SECRET_UNKNOWN = "SECRET_UNKNOWN"
    SECRET_UNDECRYPTABLE = "SECRET_UNDECRYPTABLE"
    PLATFORM_CREDENTIAL_COMINGLED = "PLATFORM_CREDENTIAL_COMINGLED"
    PLATFORM_CREDENTIAL_UNKNOWN = "PLATFORM_CREDENTIAL_UNKNOWN"
    BYPASS_KEY_REFUSED = "BYPASS_KEY_REFUSED"
    RUNTIME_UNKNOWN = "RUNTIME_UNKNOWN"
    MODEL_REQUIRED = "MODEL_REQUIRED"
    MODEL_UNREGISTERED = "MODEL_UNREGISTERED"
    MODEL_WITHDRAWN = "MODEL_WITHDRAWN"
    PROVIDER_AMBIGUOUS = "PROVIDER_AMBIGUOUS"
    MISSING_BYOK_CREDENTIAL = "MISSING_BYOK_CREDENTIAL"
    INVALID_BYOK_CREDENTIAL = "INVALID_BYOK_CREDENTIAL"
    MISSING_PLATFORM_PROXY = "MISSING_PLATFORM_PROXY"
    MISSING_REQUIRED_ENV = "MISSING_REQUIRED_ENV"
    PROVISION_UNKNOWN = "PROVISION_UNKNOWN"
    PROVISION_SUPERSEDED = "PROVISION_SUPERSEDED"
    TOKEN_HASH_IN_USE = "TOKEN_HASH_IN_USE"
    BEARER_REJECTED = "BEARER_REJECTED"
    REGISTRY_UNAVAILABLE = "REGISTRY_UNAVAILABLE"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    CONFLICT = "CONFLICT"
    DEADLINE = "DEADLINE"
    CANCELLED = "CANCELLED"
    NOT_AVAILABLE_YET = "NOT_AVAILABLE_YET"
    INTERNAL = "INTERNAL"


@unique
class Recovery(StrEnum):
    """The one action that a refusal names."""

    REGISTER = "REGISTER"
    RETRY = "RETRY"
    RELAUNCH = "RELAUNCH"
    STOP = "STOP"
    FIX_REQUEST = "FIX_REQUEST"


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that has the wrong shape; `field` is its path in the request."""

    field: str
    description: str


class Refusal(Exception):
    """A refusal with its public text: never a secret, never SQL.

    `metadata` repeats whatever is dynamic in the message. Without `recovery` the edge
    takes the reason's own default.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after: timedelta | None = None,
        recovery: Recovery | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.recovery = recovery

    @override
    def __repr__(self) -> str:
        return f"Refusal({self.reason}, {self.message!r})"


def refuse_shape(violations: Sequence[Violation]) -> None:
    """Raise INVALID_REQUEST with every violation, if there is any."""
    if violations:
        fields = ", ".join(dict.fromkeys(violation.field for violation in violations))
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"the request has {len(violations)} invalid field value(s): {fields}",
            violations=violations,
        )
