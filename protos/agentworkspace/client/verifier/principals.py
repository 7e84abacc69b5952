"""Whom a workspace token speaks for, and what a method asks of it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from agentworkspace.core.token_format import TokenKind
from agentworkspace.registry.v1 import token_pb2

_KIND: Final = {
    token_pb2.TOKEN_KIND_INSTANCE: TokenKind.INSTANCE,
    token_pb2.TOKEN_KIND_API: TokenKind.API,
    token_pb2.TOKEN_KIND_PROXY: TokenKind.PROXY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whom a live token speaks for. `expires_at` in seconds since the epoch; None: never."""

    workspace_id: str
    tenant_id: str
    token_id: str
    kind: TokenKind
    scopes: frozenset[str]
    incarnation: int
    expires_at: float | None
    # Whether evidence stood behind the token; a registry that does not say so vouches for none.
    evidence_backed: bool = False


@unique
class Rejection(StrEnum):
    """Why a token is not accepted, as the registry words it.

    TOKEN_INVALID is one reason for all: unknown, malformed, revoked, expired, another
    workspace's, or of a workspace that was removed.
    """

    TOKEN_INVALID = "TOKEN_INVALID"
    TOKEN_KIND = "TOKEN_KIND"
    TOKEN_SCOPE = "TOKEN_SCOPE"


class Rejected(Exception):
    """The registry, or what is known from it, does not accept the token."""

    def __init__(self, reason: Rejection) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a token must be, besides live.

    kind: None takes an instance or an api token; a proxy token only passes where PROXY is asked
    for. workspace_field: dotted path of the request's field that names the
    workspace, which must be the token's own; for the server interceptor.
    """

    kind: TokenKind | None = None
    scopes: Set[str] = frozenset()
    workspace_field: str | None = None

    def __post_init__(self) -> None:
        if self.kind is TokenKind.TICKET:
            raise ValueError("a bootstrap ticket is for Register and nothing else")


LIVE: Final = Requirement()


def require(principal: Principal, requirement: Requirement, workspace_id: str | None) -> Principal:
    """The principal, if it is what is asked for. Rejected otherwise, in the registry's order."""
    if workspace_id is not None and principal.workspace_id != workspace_id:
        raise Rejected(Rejection.TOKEN_INVALID)
    if principal.kind is not requirement.kind and (
        requirement.kind is not None or principal.kind is TokenKind.PROXY
    ):
        raise Rejected(Rejection.TOKEN_KIND)
    if not principal.scopes >= requirement.scopes:
        raise Rejected(Rejection.TOKEN_SCOPE)
    return principal


def principal_of(message: token_pb2.Principal) -> Principal | None:
    """None for a kind that this version does not know: it cannot say what it may be used for."""
    kind = _KIND.get(message.kind)
    if kind is None:
        return None
    expires_at: float | None = None
    if message.HasField("expire_time"):
        expires_at = message.expire_time.seconds + message.expire_time.nanos / 1e9
    return Principal(
        workspace_id=message.workspace_id,
        tenant_id=message.tenant_id,
        token_id=message.token_id,
        kind=kind,
        scopes=frozenset(message.scopes),
        incarnation=message.incarnation,
        expires_at=expires_at,
        evidence_backed=message.evidence_backed,
    )
