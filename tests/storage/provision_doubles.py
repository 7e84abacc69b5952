"""The registry and the vendors as provision sees them, which do what they are told."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from agentworkspace.core.secret import Secret
from provision_service.domain.probing import ProbeRequest, ProbeResult, Verdict
from provision_service.domain.records import Workspace
from provision_service.domain.registry_port import (
    Admission,
    Admitted,
    Bearer,
    Delivery,
    FirstAdmission,
    FirstToken,
    Incarnation,
    Launch,
    Registration,
    RegistrationPage,
    RegistrationState,
    RegistryOlder,
    RegistryRefused,
    RegistryUnavailable,
)

# The registry says of this one that it was used for something else.
USED_HASH = "a" * 64


def new_id() -> str:
    return str(uuid.uuid4())


class ScriptedRegistry:
    """The registry's side of the protocol in memory, which fails when it is told to.

    `before` and `after` are called around every call with its name: what they raise is
    what the call raises, so a test can crash a launch, or act in the middle of it.

    A call for many does what single ones would do, but answers None for each item that a single one
    would refuse, skip or repeat; of these it does nothing. `older`: it knows no such calls.
    """

    def __init__(self) -> None:
        self.down = False
        self.older = False
        self.calls: list[str] = []
        self.admitted: dict[str, str] = {}
        self.first_tokens: dict[str, FirstToken] = {}
        self.used_first_tokens: set[str] = set()
        # It learned of these without a first token, and mints none by admitting twice.
        self.known_before: set[str] = set()
        self.retired: set[str] = set()
        self.incarnations: dict[str, int] = {}
        self.admissions: list[Admission] = []
        self.launches: list[Launch] = []
        self.suspended: set[str] = set()
        # Of these the registry says that they need no launch.
        self.healthy: set[str] = set()
        self.begun: dict[str, tuple[str, int]] = {}
        self.redeemed: set[str] = set()
        self.ticket_ttls: list[timedelta] = []
        self.registrations: dict[str, Registration] = {}
        self.bearers: dict[str, Bearer] = {}
        self.refusals: dict[str, RegistryRefused] = {}
        # Of the items of calls for many.
        self.correlation_ids: list[str] = []
        self.before: Callable[[str], None] = lambda _call: None
        self.after: Callable[[str], None] = lambda _call: None
        self._lock = Lock()

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        self.before(name)
        if self.down:
            raise RegistryUnavailable
        if name in self.refusals:
            raise self.refusals[name]
        with self._lock:
            self.calls.append(name)
            yield
        self.after(name)

    @contextmanager
    def _call_for_many(self, name: str) -> Iterator[None]:
        if self.older:
            self.calls.append(name)
            raise RegistryOlder
        with self._call(name):
            yield

    def _is_refused(self, single: str, workspace_id: str) -> bool:
        return single in self.refusals or workspace_id in self.retired

    def admit(
        self,
        admission: Admission,
        *,
        request_id: str,
        first_token: FirstToken | None,
        timeout: timedelta,
    ) -> Admitted:
        del request_id, timeout
        with self._call("admit"):
            return self._admit(admission, first_token)

    def admit_many(
        self, items: Sequence[FirstAdmission], *, timeout: timedelta
    ) -> list[Admitted | None]:
        del timeout
        self.correlation_ids += [each.correlation_id for each in items]
        with self._call_for_many("admit_many"):
            return [
                None
                if self._is_refused("admit", each.admission.workspace_id)
                or each.admission.workspace_id in self.admitted.keys() | self.known_before
                else self._admit(each.admission, each.first_token)
                for each in items
            ]

    def _admit(self, admission: Admission, first_token: FirstToken | None) -> Admitted:
        workspace_id = admission.workspace_id
        if workspace_id in self.retired:
            raise RegistryRefused("WORKSPACE_REMOVED", "retired")
        self.admitted[workspace_id] = admission.tenant_id
        self.admissions.append(admission)
        if first_token is None:
            return Admitted()
        if first_token.token_sha256 == USED_HASH:
            raise RegistryRefused("TOKEN_HASH_IN_USE", "used before")
        self.first_tokens[workspace_id] = first_token
        if first_token.token_sha256 is not None:
            return Admitted(delivery=Delivery.CALLER_MADE)
        if workspace_id in self.known_before:
            return Admitted()
        if workspace_id in self.used_first_tokens:
            return Admitted(delivery=Delivery.ALREADY_DELIVERED)
        return Admitted(delivery=Delivery.ENCLOSED, plaintext=Secret(f"awa_{new_id()}_{1:06}"))

    def begin_incarnation(self, launch: Launch, *, timeout: timedelta) -> Incarnation:
        del timeout
        with self._call("begin_incarnation"):
            return self._begin(launch)

    def begin_many(
        self, launches: Sequence[Launch], *, correlation_ids: Sequence[str], timeout: timedelta
    ) -> list[Incarnation | None]:
        del timeout
        self.correlation_ids += correlation_ids
        with self._call_for_many("begin_many"):
            return [self._begin(each) if self._is_new(each) else None for each in launches]

    def _is_new(self, launch: Launch) -> bool:
        workspace_id = launch.workspace_id
        return (
            not self._is_refused("begin_incarnation", workspace_id)
            and workspace_id in self.admitted
            and launch.request_id not in self.begun
            and (launch.lift_suspension or workspace_id not in self.suspended)
            and not (launch.only_if_needed and workspace_id in self.healthy)
        )

    def _begin(self, launch: Launch) -> Incarnation:
        workspace_id, request_id = launch.workspace_id, launch.request_id
        self.launches.append(launch)
        if workspace_id in self.retired:
            raise RegistryRefused("WORKSPACE_REMOVED", "retired")
        if workspace_id not in self.admitted:
            raise RegistryRefused("WORKSPACE_UNKNOWN", "never heard of it")
        self.ticket_ttls.append(launch.ticket_ttl)
        if request_id not in self.begun:
            if workspace_id in self.suspended and not launch.lift_suspension:
                raise RegistryRefused("WORKSPACE_SUSPENDED", "suspended")
            self.suspended.discard(workspace_id)
            number = self.incarnations.get(workspace_id, 0)
            if launch.only_if_needed and workspace_id in self.healthy:
                return Incarnation(number=number, ticket=None, skipped=True)
            number = max(number, launch.minimum_incarnation) + 1
            self.incarnations[workspace_id] = number
            self.begun[request_id] = (workspace_id, number)
        number = self.begun[request_id][1]
        if number != self.incarnations[workspace_id]:
            raise RegistryRefused("INCARNATION_SUPERSEDED", "a newer launch has begun")
        ticket = None if request_id in self.redeemed else Secret(f"awt_{new_id()}")
        return Incarnation(number=number, ticket=ticket)

    def retire(self, *, workspace_id: str, tenant_id: str, timeout: timedelta) -> None:
        del tenant_id, timeout
        with self._call("retire"):
            self.retired.add(workspace_id)

    def get_registration(self, *, workspace_id: str, timeout: timedelta) -> Registration:
        del timeout
        with self._call("get_registration"):
            if workspace_id not in self.registrations:
                raise RegistryRefused("WORKSPACE_UNKNOWN", "never heard of it")
            return self.registrations[workspace_id]

    def list_registrations_of(
        self, *, workspace_ids: Sequence[str], timeout: timedelta
    ) -> tuple[Registration, ...]:
        del timeout
        with self._call("list_registrations_of"):
            known = self.registrations
            return tuple(known[each] for each in workspace_ids if each in known)

    def list_changed_registrations(
        self, *, after: int, page_token: str, timeout: timedelta
    ) -> RegistrationPage:
        """Each registration's place in the dictionary is the revision of its change."""
        del timeout
        with self._call("list_changed_registrations"):
            changed = list(self.registrations.values())[after:]
            start = int(page_token or 0)
            rest = str(start + 200) if len(changed) > start + 200 else ""
            return RegistrationPage(
                registrations=tuple(changed[start : start + 200]),
                next_page_token=rest,
                revision=len(self.registrations),
            )

    def list_registrations_needing_relaunch(
        self, *, page_token: str, timeout: timedelta
    ) -> RegistrationPage:
        del page_token, timeout
        with self._call("list_registrations_needing_relaunch"):
            silent = (each for each in self.registrations.values() if each.relaunch)
            return RegistrationPage(registrations=tuple(silent))

    def validate_token(
        self, *, token: Secret, workspace_id: str, timeout: timedelta
    ) -> Bearer | None:
        del timeout
        with self._call("validate_token"):
            bearer = self.bearers.get(token.reveal())
            return bearer if bearer is not None and bearer.workspace_id == workspace_id else None

    def sees(
        self,
        workspace: Workspace,
        *,
        incarnation: int,
        state: RegistrationState = RegistrationState.ONLINE,
        **more: Any,
    ) -> None:
        """Let a box of this launch have registered, healthy if it is online."""
        healthy = incarnation if state is RegistrationState.ONLINE else 0
        self.registrations[workspace.id] = Registration(
            workspace_id=workspace.id,
            tenant_id=workspace.tenant_id,
            state=state,
            incarnation=self.incarnations.get(workspace.id, 0),
            registered_incarnation=incarnation,
            healthy_incarnation=more.pop("healthy_incarnation", healthy),
            register_time=datetime.now(UTC),
            **more,
        )


class ScriptedProber:
    """Answers by the name that is probed; everything else is OK."""

    def __init__(self) -> None:
        self.verdicts: dict[str, ProbeResult] = {}
        self.asked: list[ProbeRequest] = []

    def probe(self, requests: Sequence[ProbeRequest]) -> Sequence[ProbeResult]:
        self.asked += requests
        return [self._answer(request) for request in requests]

    def _answer(self, request: ProbeRequest) -> ProbeResult:
        if request.value is None:
            return ProbeResult(env=request.env, verdict=Verdict.SKIP, model=request.model)
        if request.env in self.verdicts:
            return self.verdicts[request.env]
        return ProbeResult(env=request.env, verdict=Verdict.OK, model=request.model)
