"""Why a request was refused, and the one thing its caller should do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum, unique


@unique
class Reason(StrEnum):
    """Machine-readable cause; on the wire `ERROR_REASON_<name>`."""

    INVALID_REQUEST = "INVALID_REQUEST"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    MALFORMED_MESSAGE = "MALFORMED_MESSAGE"
    CREDENTIAL_MISSING = "CREDENTIAL_MISSING"
    CREDENTIAL_REJECTED = "CREDENTIAL_REJECTED"
    ROLE_REQUIRED = "ROLE_REQUIRED"
    TENANT_FORBIDDEN = "TENANT_FORBIDDEN"
    TENANT_MISMATCH = "TENANT_MISMATCH"
    WORKSPACE_UNKNOWN = "WORKSPACE_UNKNOWN"
    WORKSPACE_REMOVED = "WORKSPACE_REMOVED"
    WORKSPACE_SUSPENDED = "WORKSPACE_SUSPENDED"
    TOKEN_UNKNOWN = "TOKEN_UNKNOWN"
    TOKEN_NOT_LIVE = "TOKEN_NOT_LIVE"
    TOKEN_KIND = "TOKEN_KIND"
    TOKEN_HASH_IN_USE = "TOKEN_HASH_IN_USE"
    INSTANCE_TOKEN_EXISTS = "INSTANCE_TOKEN_EXISTS"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    BEARER_MISSING = "BEARER_MISSING"
    BEARER_REJECTED = "BEARER_REJECTED"
    INCARNATION_SUPERSEDED = "INCARNATION_SUPERSEDED"
    TICKET_REQUIRED = "TICKET_REQUIRED"
    TICKET_EXPIRED = "TICKET_EXPIRED"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    CONFLICT = "CONFLICT"
    DEADLINE = "DEADLINE"
    CANCELLED = "CANCELLED"
    NOT_AVAILABLE_YET = "NOT_AVAILABLE_YET"
    INTERNAL = "INTERNAL"
    INCARNATION_FENCED = "INCARNATION_FENCED"


@unique
class Recovery(StrEnum):
    """The one next step of a refused caller. Only STOP is terminal."""

    REGISTER = "REGISTER"
    RETRY = "RETRY"
    RELAUNCH = "RELAUNCH"
    STOP = "STOP"
    FIX_REQUEST = "FIX_REQUEST"


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that has the wrong shape."""

    field: str
    description: str


class Refusal(Exception):
    """A request is refused. `message` is public text: never a secret, never SQL.

    `recovery` left None means the default of the reason, which the edge knows.
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
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.recovery = recovery
