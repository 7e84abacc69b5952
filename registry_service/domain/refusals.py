"""Why a request was refused, and the one thing its caller should do next."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final

from agentworkspace.core.refusal import AnyReason, SharedReason


@unique
class Reason(StrEnum):
    """The causes that this service alone names; `SharedReason` has the others."""

    TENANT_MISMATCH = "TENANT_MISMATCH"
    TOKEN_UNKNOWN = "TOKEN_UNKNOWN"
    TOKEN_NOT_LIVE = "TOKEN_NOT_LIVE"
    TOKEN_KIND = "TOKEN_KIND"
    INSTANCE_TOKEN_EXISTS = "INSTANCE_TOKEN_EXISTS"
    BEARER_MISSING = "BEARER_MISSING"
    INCARNATION_SUPERSEDED = "INCARNATION_SUPERSEDED"
    TICKET_REQUIRED = "TICKET_REQUIRED"
    TICKET_EXPIRED = "TICKET_EXPIRED"


REASONS: Final[tuple[AnyReason, ...]] = (*SharedReason, *Reason)
_BY_NAME: Final = {each.value: each for each in REASONS}


def reason_of(name: str) -> AnyReason:
    """The reason that was stored by its name. KeyError for a name that never was one."""
    return _BY_NAME[name]
