"""Why the registry refuses a request: its reasons, beside those that both services share."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final

from agentworkspace.core.refusal import AnyReason, SharedReason


@unique
class Reason(StrEnum):
    """The reasons that only this service gives; `SharedReason` has the others."""

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
    """The reason of this name, as the database stores it. KeyError for an unknown name."""
    return _BY_NAME[name]
