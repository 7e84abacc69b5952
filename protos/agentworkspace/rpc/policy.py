"""Who may call what: one line per method, complete before the server starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from typing import Final

from google.protobuf.descriptor import ServiceDescriptor

from agentworkspace.core.caller import Caller

ROLES: Final = frozenset({"verifier", "launcher", "admin"})
_INCLUDED: Final[Mapping[str, frozenset[str]]] = {"admin": ROLES}


@unique
class Lane(StrEnum):
    """Calls of one lane compete for the same capacity; CONTROL may also use the reserve."""

    AGENT = "agent"
    CONTROL = "control"
    CHECK = "check"


@unique
class Listener(StrEnum):
    """Where a method is answered, when the control plane has a listener of its own."""

    BOXES = "boxes"
    CONTROL = "control"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of the policy table.

    roles: callers holding any of these may call. any_caller: every known caller may.
    bearer_allowed: a workspace token may call too; the command checks it.
    anonymous_allowed: so may a call without any credential; the command decides (Register).
    public: credentials are not looked at. quiet: success is logged at debug level only.
    """

    roles: frozenset[str] = frozenset()
    any_caller: bool = False
    bearer_allowed: bool = False
    anonymous_allowed: bool = False
    public: bool = False
    lane: Lane = Lane.CONTROL
    quiet: bool = False

    def __post_init__(self) -> None:
        unknown = self.roles - ROLES
        if unknown:
            raise ValueError(f"unknown roles {sorted(unknown)}")
        lets_in = (bool(self.roles), self.any_caller, self.bearer_allowed, self.anonymous_allowed)
        if self.public and any(lets_in):
            raise ValueError("a public method looks at no credential: nothing else may be set")
        if self.anonymous_allowed and not self.bearer_allowed:
            raise ValueError("who may come without a credential may come with a token")
        if not self.public and not any(lets_in):
            raise ValueError("this rule lets nobody in")

    @property
    def on_record(self) -> bool:
        """Whether a successful call leaves its correlation id in the log or, as changes through
        the control plane do, in the audit.
        """
        return not self.quiet or self.lane is Lane.CONTROL

    @property
    def crowd(self) -> bool:
        """Whether boxes or verifiers call this, which are many: inside gRPC each such method has a
        queue of its own (see `server/routing.py`).
        """
        return self.lane is not Lane.CONTROL and not self.public

    def admits(self, caller: Caller) -> bool:
        """Whether this caller of the credentials file may call."""
        return self.any_caller or not self.roles.isdisjoint(caller.roles)

    @property
    def for_tokens_only(self) -> bool:
        """Whether workspace tokens may call, and no caller of the credentials file."""
        return not self.roles and not self.any_caller and self.bearer_allowed

    def at(self, listener: Listener) -> Rule | None:
        """The rule for calls that arrive at this listener; None: it does not answer the method.

        The boxes' listener answers what workspace tokens may call, and takes tokens only. The
        control plane's answers what callers of the credentials file may call, and takes only them.
        Some methods have both callers, such as RotateToken.
        """
        if self.public:
            return self
        if listener is Listener.BOXES:
            tokens = self.bearer_allowed
            return replace(self, roles=frozenset(), any_caller=False) if tokens else None
        callers = self.any_caller or bool(self.roles)
        return replace(self, bearer_allowed=False, anonymous_allowed=False) if callers else None


Policy = Mapping[str, Rule]

PUBLIC: Final = Rule(public=True, lane=Lane.CHECK, quiet=True)
# Health and reflection are grpcio's own servicers, and are served without the edge.
INFRASTRUCTURE: Final[Policy] = {
    "/grpc.health.v1.Health/Check": PUBLIC,
    "/grpc.health.v1.Health/List": PUBLIC,
    "/grpc.health.v1.Health/Watch": PUBLIC,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": PUBLIC,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": PUBLIC,
}


class PolicyIncomplete(ValueError):
    """The table and the methods differ; the message names every difference."""


def effective_roles(roles: Iterable[str]) -> frozenset[str]:
    """The roles with what they include: admin is verifier and launcher too."""
    return frozenset().union(*(_INCLUDED.get(role, frozenset({role})) for role in roles))


def method_names(services: Iterable[ServiceDescriptor]) -> set[str]:
    """Full names, as on the wire: `/package.Service/Method`."""
    return {f"/{service.full_name}/{each.name}" for service in services for each in service.methods}


def require_total(policy: Policy, services: Iterable[ServiceDescriptor]) -> None:
    """Refuse to start unless every method has a line and every line a method."""
    services = tuple(services)
    methods = method_names(services)
    lines = set(policy) - set(INFRASTRUCTURE)
    faults = [f"{name} has no line" for name in sorted(methods - lines)]
    faults += [f"{name} is no method" for name in sorted(lines - methods)]
    faults += [
        f"/{service.full_name}/{method.name} streams requests, which the edge does not carry"
        for service in services
        for method in service.methods
        if method.client_streaming
    ]
    if faults:
        raise PolicyIncomplete("policy table: " + "; ".join(faults))
