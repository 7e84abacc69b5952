"""The token record. All kinds of token share one table, so that a hash is unique across them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from typing import Final

from agentworkspace.core.ids import RequestId, TokenId, WorkspaceId
from agentworkspace.core.token_format import (
    TokenKind,
    assemble,
    checksum_ok,
    derive_instance_token,
    display_prefix,
    is_junk,
    looks_ours,
    token_sha256,
)

__all__ = [
    "REOPENING",
    "Outcome",
    "RevokeReason",
    "Token",
    "TokenKind",
    "assemble",
    "checksum_ok",
    "derive_instance_token",
    "display_prefix",
    "is_junk",
    "looks_ours",
    "token_sha256",
]


@unique
class RevokeReason(StrEnum):
    ROTATED = "ROTATED"
    RELAUNCHED = "RELAUNCHED"
    OPERATOR = "OPERATOR"
    COMPROMISED = "COMPROMISED"
    SUSPENDED = "SUSPENDED"
    REMOVED = "REMOVED"
    DEREGISTERED = "DEREGISTERED"


# A token revoked for one of these may let its holder in again: it was taken away by a relaunch or
# an operator, and was neither exchanged for another one nor stolen.
REOPENING: Final = frozenset({RevokeReason.OPERATOR, RevokeReason.RELAUNCHED})


@unique
class Outcome(StrEnum):
    """How a Register was admitted."""

    AUTHENTICATED = "AUTHENTICATED"
    BOOTSTRAPPED = "BOOTSTRAPPED"
    RECOVERED = "RECOVERED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An instance, api or proxy token or a bootstrap ticket; never its plaintext.

    A ticket is redeemed when `first_use_time` is set and void when `revoke_time` is.
    `revoke_time` counts as soon as it is set, whatever its value: comparing it with a clock
    would let a transaction pass that started earlier. The overlap of a rotation is stored as the
    old token's `expire_time`.
    """

    token_id: TokenId
    workspace_id: WorkspaceId
    kind: TokenKind
    token_sha256: bytes
    create_time: datetime
    # The first 8 payload characters; empty when the caller made the secret.
    prefix: str = ""
    label: str = ""
    scopes: frozenset[str] = frozenset()
    # The launch this belongs to; 0 for an api token and before any launch.
    incarnation: int = 0
    expire_time: datetime | None = None
    first_use_time: datetime | None = None
    last_use_time: datetime | None = None
    revoke_time: datetime | None = None
    revoke_reason: RevokeReason | None = None
    # The token that dies (ROTATED) at this one's first use.
    replaces: TokenId | None = None
    # The evidence this was minted on: a ticket, an api token or an instance token.
    minted_on: TokenId | None = None
    request_id: RequestId | None = None
    # Whether the caller made the secret and sent its hash; otherwise the server made it.
    client_made: bool = False
    # The outcome of the Register that minted this token; None when no Register did.
    outcome: Outcome | None = None
    # Of an instance token: no evidence was shown for it, or for the token it was minted on.
    unproven: bool = False

    def is_revoked(self) -> bool:
        return self.revoke_time is not None

    def is_expired(self, now: datetime) -> bool:
        return self.expire_time is not None and self.expire_time <= now

    def is_live(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return not self.is_revoked() and not self.is_expired(now)

    def is_used(self) -> bool:
        return self.first_use_time is not None

    def is_outstanding(self, now: datetime) -> bool:
        """Whether this ticket can still be redeemed for the first time."""
        return self.is_live(now) and not self.is_used()

    def is_redeemed(self) -> bool:
        """Whether this ticket was redeemed and is not void. Expiry no longer matters."""
        return self.is_used() and not self.is_revoked()

    def dies_at_first_use(self) -> TokenId | None:
        """The token to revoke as ROTATED, unless it is revoked already, when this one's first use
        is written; None when there is none, or this one was used before.
        """
        return None if self.is_used() else self.replaces
