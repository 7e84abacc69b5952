"""What the launch needs of the registry, and the two ways in which a call to it can fail.

The client implements `Registry`; commands see nothing else of it. Every call is bounded by
its `timeout`, whatever the transport does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, unique
from typing import NamedTuple, Protocol

from agentworkspace.core.secret import Secret


class RegistryUnavailable(Exception):
    """The registry did not answer in time, or could not: whether it acted is not known."""


class RegistryOlder(RegistryUnavailable):
    """The registry answered that it does not know the method: it is of an earlier version."""


class RegistryRefused(Exception):
    """The registry answered and said no; `reason` is the short name of its ErrorReason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@unique
class Delivery(StrEnum):
    """Where an issued token's plaintext is: in this answer, with the caller, or given before."""

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


@unique
class RelaunchReason(StrEnum):
    """Why the registry says that only a new launch can help."""

    SILENT = "SILENT"
    TICKET_UNUSED = "TICKET_UNUSED"
    NEWEST_REFUSED = "NEWEST_REFUSED"
    RESTORED = "RESTORED"


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
class Admission:
    """What the registry is told of a workspace.

    `ticket_required`: a box gets in only with the ticket of a launch. `evidence_required`: the
    workspace's id alone opens nothing, its api token does; set for runtimes that are not launched
    from here. Neither is ever unset again. `remembered_incarnation` (how many launches there were)
    and `suspended` (whether the last was suspended) are news only to a registry that was restored
    from a backup.
    """

    workspace_id: str
    tenant_id: str
    ticket_required: bool
    evidence_required: bool
    remembered_incarnation: int = 0
    suspended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What BeginIncarnation is asked for.

    The launch gets a number above `minimum_incarnation`. `lift_suspension` also begins it for a
    suspended workspace; `only_if_needed` begins it only where the registry still says that one
    is needed.
    """

    workspace_id: str
    request_id: str
    ticket_ttl: timedelta
    minimum_incarnation: int = 0
    lift_suspension: bool = False
    only_if_needed: bool = False


class FirstAdmission(NamedTuple):
    """One of many admissions with a first token; `correlation_id` of the call that it is for."""

    admission: Admission
    request_id: str
    first_token: FirstToken
    correlation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incarnation:
    """A launch has begun, unless `skipped`: then none was needed, and nothing changed.

    `ticket` is None when it was delivered and redeemed before, and when skipped.
    """

    number: int
    ticket: Secret | None
    ticket_expire_time: datetime | None = None
    skipped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterFailure:
    """A register with recognised evidence that was refused."""

    reason: str
    time: datetime
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """How a workspace stands; incarnations are 0 before any.

    `left`: its newest box left on purpose. `suspended`: no box gets in until an admin lifts that.
    `fenced`: suspended, or closed until a new launch because its tokens were compromised.
    `ticket_unused`: the newest launch's ticket ran out, or was voided, before a box came.
    `relaunch`: why only a new launch can help, and `relaunch_since` since when.
    """

    workspace_id: str
    tenant_id: str
    state: RegistrationState
    incarnation: int = 0
    registered_incarnation: int = 0
    healthy_incarnation: int = 0
    register_time: datetime | None = None
    left: bool = False
    suspended: bool = False
    fenced: bool = False
    ticket_unused: bool = False
    relaunch: RelaunchReason | None = None
    relaunch_since: datetime | None = None
    last_register_failure: RegisterFailure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationPage:
    """Some registrations; `next_page_token` is empty on the last page.

    The next poll asks for what changed after `revision`.
    """

    registrations: tuple[Registration, ...]
    next_page_token: str = ""
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Whom a live instance token speaks for.

    `evidence_backed`: its box once showed something that a stranger could not have.
    """

    workspace_id: str
    tenant_id: str
    incarnation: int
    evidence_backed: bool


class Registry(Protocol):
    """The registry's calls. Each raises RegistryUnavailable or RegistryRefused."""

    def admit(
        self,
        admission: Admission,
        *,
        request_id: str,
        first_token: FirstToken | None,
        timeout: timedelta,
    ) -> Admitted:
        """AdmitWorkspace."""
        ...

    def admit_many(
        self, items: Sequence[FirstAdmission], *, timeout: timedelta
    ) -> list[Admitted | None]:
        """BatchAdmitWorkspaces, in order. None: not answered there; `admit` tells why."""
        ...

    def begin_incarnation(self, launch: Launch, *, timeout: timedelta) -> Incarnation:
        """BeginIncarnation."""
        ...

    def begin_many(
        self, launches: Sequence[Launch], *, correlation_ids: Sequence[str], timeout: timedelta
    ) -> list[Incarnation | None]:
        """BatchBeginIncarnations, in order. None: not answered there; `begin_incarnation` tells
        why.
        """
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

    def list_changed_registrations(
        self, *, after: int, page_token: str, timeout: timedelta
    ) -> RegistrationPage:
        """ListRegistrations(changed_after), 200 a page; `after` 0 lists every one."""
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
