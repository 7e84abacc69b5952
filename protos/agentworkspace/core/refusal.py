"""Why a request was refused, and the one thing its caller should do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum, unique
from typing import TypeAlias


@unique
class Recovery(StrEnum):
    """The one next step of a refused caller. Unknown means RETRY; only STOP is terminal."""

    REGISTER = "REGISTER"
    RETRY = "RETRY"
    RELAUNCH = "RELAUNCH"
    STOP = "STOP"
    FIX_REQUEST = "FIX_REQUEST"


@unique
class SharedReason(StrEnum):
    """The reasons that both services use; each service adds its own in `domain/refusals.py`.

    On the wire each is `ERROR_REASON_<name>`, in the ErrorReason of either service.
    """

    INVALID_REQUEST = "INVALID_REQUEST"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    MALFORMED_MESSAGE = "MALFORMED_MESSAGE"
    CREDENTIAL_MISSING = "CREDENTIAL_MISSING"
    CREDENTIAL_REJECTED = "CREDENTIAL_REJECTED"
    ROLE_REQUIRED = "ROLE_REQUIRED"
    TENANT_FORBIDDEN = "TENANT_FORBIDDEN"
    URL_FORBIDDEN = "URL_FORBIDDEN"
    WORKSPACE_UNKNOWN = "WORKSPACE_UNKNOWN"
    WORKSPACE_REMOVED = "WORKSPACE_REMOVED"
    WORKSPACE_SUSPENDED = "WORKSPACE_SUSPENDED"
    INCARNATION_FENCED = "INCARNATION_FENCED"
    TOKEN_HASH_IN_USE = "TOKEN_HASH_IN_USE"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    BEARER_REJECTED = "BEARER_REJECTED"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    CONFLICT = "CONFLICT"
    DEADLINE = "DEADLINE"
    CANCELLED = "CANCELLED"
    NOT_AVAILABLE_YET = "NOT_AVAILABLE_YET"
    INTERNAL = "INTERNAL"


# A SharedReason, or a Reason of the service at hand.
AnyReason: TypeAlias = StrEnum


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that has the wrong shape; `field` is its path, dot-separated."""

    field: str
    description: str


class Refusal(Exception):
    """A request is refused. `message` is public text: never a secret, never SQL.

    `metadata` repeats whatever is dynamic in the message. `recovery` None means the default of
    the reason, which the edge knows. `recognised` says that the caller, though refused, presented
    something that was issued here: it is not counted among the strangers whom the edge throttles.
    """

    def __init__(
        self,
        reason: AnyReason,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after: timedelta | None = None,
        recovery: Recovery | None = None,
        recognised: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.recovery = recovery
        self.recognised = recognised

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    def __repr__(self) -> str:
        return f"Refusal({self.reason}, {self.message!r})"


def internal() -> Refusal:
    """The refusal for an unexpected fault: it tells the client nothing but where to look."""
    return Refusal(
        SharedReason.INTERNAL, "a fault of the service; its log has it under the correlation id"
    )


def wrong_shape(violations: Sequence[Violation]) -> Refusal:
    """The refusal INVALID_REQUEST with every violation, of which there is at least one.

    The message has the rule of the first, for clients that read nothing else; the edge puts the
    names of all fields into the metadata.
    """
    first, *_ = violations
    others = [name for name in dict.fromkeys(v.field for v in violations) if name != first.field]
    also = f"; also wrong: {', '.join(others)}" if others else ""
    return Refusal(
        SharedReason.INVALID_REQUEST,
        f"the request is not well-formed: {first.field} {first.description}{also}",
        violations=violations,
    )


def refuse_shape(violations: Sequence[Violation]) -> None:
    """Raise INVALID_REQUEST with every violation, if there is any."""
    if violations:
        raise wrong_shape(violations)
