"""What the launch needs of the registry, and the two ways in which a call to it can fail.

The client implements `Registry`; commands see nothing else of it. Every call is bounded by
its `timeout`, whatever the transport does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, unique
from typing import Protocol

from agentworkspace.core.secret import Secret


class RegistryUnavailable(Exception):
    """The registry did not answer in time, or could not: whether it acted is not known."""


class RegistryRefused(Exception):
    """The registry answered and said no; `reason` is the short name of its ErrorReason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@unique
class Delivery(StrEnum):
    """Where the plaintext of something issued is."""

    ENCLOSED = "ENCLOSED"
    CALLER_MADE = "CALLER_MADE"
    ALREADY_DELIVERED = "ALREADY_DELIVERED"


@unique
class RegistrationState(StrEnum):
    """How a workspace's box stands at the registry."""

    PENDING = "PENDING"
    ONLINE = "ONLINE"
    DEGRADED = "DEGRADED"
    OFFLINE = "OFFLINE"
    REMOVED = "REMOVED"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstToken:
    """Asks for an api token at admission; `token_sha256` when the caller made it."""

    label: str
    token_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The registry knows the workspace. Both are None when no token was asked for."""

    delivery: Delivery | None = None
    plaintext: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incarnation:
    """A launch has begun. `ticket` is None when it was delivered and redeemed before."""

    number: int
    ticket: Secret | None
    ticket_expire_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterFailure:
    """A register with recognised evidence that was refused."""

    reason: str
    time: datetime
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """How a workspace stands; incarnations are 0 before any.

    `deregistered`: its box left on purpose. `suspended`: nobody lets it in until a launch that
    somebody decided on.
    """

    workspace_id: str
    tenant_id: str
    state: RegistrationState
    incarnation: int = 0
    registered_incarnation: int = 0
    healthy_incarnation: int = 0
    register_time: datetime | None = None
    deregistered: bool = False
    suspended: bool = False
    needs_relaunch: bool = False
    silent_since: datetime | None = None
    last_register_failure: RegisterFailure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationPage:
    """Some registrations; `next_page_token` is empty on the last page."""

    registrations: tuple[Registration, ...]
    next_page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Whom a live instance token speaks for."""

    workspace_id: str
    tenant_id: str
    incarnation: int


class Registry(Protocol):
    """The registry's calls. Each raises RegistryUnavailable or RegistryRefused."""

    def admit(
        self,
        *,
        workspace_id: str,
        tenant_id: str,
        request_id: str,
        first_token: FirstToken | None,
        ticket_required: bool,
        timeout: timedelta,
    ) -> Admitted:
        """AdmitWorkspace."""
        ...

    def begin_incarnation(
        self, *, workspace_id: str, request_id: str, ticket_ttl: timedelta, timeout: timedelta
    ) -> Incarnation:
        """BeginIncarnation."""
        ...

    def retire(self, *, workspace_id: str, tenant_id: str, timeout: timedelta) -> None:
        """RetireWorkspace."""
        ...

    def get_registration(self, *, workspace_id: str, timeout: timedelta) -> Registration:
        """GetRegistration; an unknown workspace is RegistryRefused WORKSPACE_UNKNOWN."""
        ...

    def list_registrations_of(
        self, *, workspace_ids: Sequence[str], timeout: timedelta
    ) -> tuple[Registration, ...]:
        """ListRegistrations(workspace_ids) of at most 200; one that is unknown is left out."""
        ...

    def list_registrations(self, *, page_token: str, timeout: timedelta) -> RegistrationPage:
        """ListRegistrations, every one, 200 a page."""
        ...

    def list_registrations_needing_relaunch(
        self, *, page_token: str, timeout: timedelta
    ) -> RegistrationPage:
        """ListRegistrations(needs_relaunch), 200 a page."""
        ...

    def validate_token(
        self, *, token: Secret, workspace_id: str, timeout: timedelta
    ) -> Bearer | None:
        """ValidateToken for an instance token of this workspace; None: not accepted."""
        ...
