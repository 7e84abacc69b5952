"""The answer of every command that issues a token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, unique

from agentworkspace.core.secret import Secret
from registry_service.domain.tokens import Token, TokenKind

# Makes a fresh secret of this kind; the composition root owns the randomness.
NewSecret = Callable[[TokenKind], Secret]


@unique
class Delivery(StrEnum):
    """Where the plaintext of an issued token is: in this answer, with the caller, who made it, or
    in an earlier answer.
    """

    ENCLOSED = "ENCLOSED"
    CALLER_MADE = "CALLER_MADE"
    ALREADY_DELIVERED = "ALREADY_DELIVERED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    token: Token
    # Set exactly when `delivery` is ENCLOSED.
    plaintext: Secret | None
    delivery: Delivery
