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
    # Whether evidence (a ticket, an api token or an operator) stood behind the token; False also
    # from a registry that does not say.
    evidence_backed: bool = False


@unique
class Rejection(StrEnum):
    """Why a token is not accepted, in the registry's words.

    TOKEN_INVALID covers a token that is unknown, malformed, revoked, expired, of another workspace,
    or of a removed one; the caller does not learn which.
    """

    TOKEN_INVALID = "TOKEN_INVALID"
    TOKEN_KIND = "TOKEN_KIND"
    TOKEN_SCOPE = "TOKEN_SCOPE"


class Rejected(Exception):
    """The token is not accepted, by the registry or by its cached answer."""

    def __init__(self, reason: Rejection) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a token must be, besides live.

    kind: None accepts an instance or an api token; a proxy token is accepted only for PROXY.
    scopes: all of them must be among the token's. workspace_field, for the gRPC interceptors: the
    dotted path of the request's field that names a workspace, which must be the token's own.
    """

    kind: TokenKind | None = None
    scopes: Set[str] = frozenset()
    workspace_field: str | None = None

    def __post_init__(self) -> None:
        if self.kind is TokenKind.TICKET:
            raise ValueError("a bootstrap ticket is for Register and nothing else")


LIVE: Final = Requirement()


def require(principal: Principal, requirement: Requirement, workspace_id: str | None) -> Principal:
    """The principal, if it meets the requirement; else Rejected, by the registry's order."""
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
    """The principal of a message; None for a kind of token that this version does not know."""
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
