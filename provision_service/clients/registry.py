"""The registry over gRPC: the only place that knows its stubs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agentworkspace.core.secret import Secret
from agentworkspace.registry.v1 import (
    token_pb2,
    token_service_pb2,
    token_service_pb2_grpc,
    workspace_registry_service_pb2,
    workspace_registry_service_pb2_grpc,
)
from agentworkspace.rpc import calls
from agentworkspace.rpc.errors import RpcFailure, failure_from
from provision_service.clients import registry_answers as answers
from provision_service.clients.breaker import Breaker
from provision_service.domain.registry_port import (
    Admission,
    Admitted,
    Bearer,
    FirstAdmission,
    FirstToken,
    Incarnation,
    Launch,
    Registration,
    RegistrationPage,
    RegistryOlder,
    RegistryRefused,
    RegistryUnavailable,
)

pb = workspace_registry_service_pb2
Response = TypeVar("Response")
# Told of every call: the method's name, `ok`, `refused` or `unavailable`, and the seconds.
Observe = Callable[[str, str, float], None]

PAGE_SIZE: Final = 200
_REASON_PREFIX: Final = "ERROR_REASON_"
# Answers about what was asked. Everything else is the registry's trouble, or this service's
# credential: nothing is known about the workspace then, and the call is worth repeating.
_REFUSALS: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
    }
)
_CUT_SHORT: Final = frozenset({grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})
TRIAL_SECONDS: Final = 2.0
_OWN_CREDENTIAL: Final = frozenset(
    {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
)
# A registry of an earlier version lacks these. That it lacks any other means that there is no
# registry at the address.
_NEWER: Final = frozenset({"BatchAdmitWorkspaces", "BatchBeginIncarnations"})


def _ignore(_method: str, _outcome: str, _seconds: float) -> None:
    """The default observer: does nothing."""


class RegistryClient:
    """Implements `Registry` over one channel; safe to use from many threads.

    A call never lasts longer than its timeout, nor than the call that it is made for.
    """

    def __init__(self, channel: grpc.Channel, *, observe: Observe = _ignore) -> None:
        self._workspaces = workspace_registry_service_pb2_grpc.WorkspaceRegistryServiceStub(channel)
        self._tokens = token_service_pb2_grpc.TokenServiceStub(channel)
        self._health: Any = health_pb2_grpc.HealthStub(channel)
        self._observe = observe
        # One for each purpose: failures that strangers can provoke for bearers do not stop
        # launches.
        self._launches = Breaker()
        self._bearers = Breaker()
        self._watching = Breaker()

    def admit(
        self,
        admission: Admission,
        *,
        request_id: str,
        first_token: FirstToken | None,
        timeout: timedelta,
    ) -> Admitted:
        """AdmitWorkspace."""
        request = _admission(admission, request_id, first_token)
        return answers.admitted(
            self._call(self._launches, self._workspaces.AdmitWorkspace, request, timeout)
        )

    def admit_many(
        self, items: Sequence[FirstAdmission], *, timeout: timedelta
    ) -> list[Admitted | None]:
        """BatchAdmitWorkspaces."""
        request = pb.BatchAdmitWorkspacesRequest(
            requests=[
                _admission(each.admission, each.request_id, each.first_token) for each in items
            ],
            correlation_ids=[each.correlation_id for each in items],
        )
        method = self._workspaces.BatchAdmitWorkspaces
        found = self._call(self._launches, method, request, timeout)
        return [answers.admitted(each) if each.admitted else None for each in found.results]

    def begin_incarnation(self, launch: Launch, *, timeout: timedelta) -> Incarnation:
        """BeginIncarnation."""
        method = self._workspaces.BeginIncarnation
        return answers.incarnation(self._call(self._launches, method, _launch(launch), timeout))

    def begin_many(
        self, launches: Sequence[Launch], *, correlation_ids: Sequence[str], timeout: timedelta
    ) -> list[Incarnation | None]:
        """BatchBeginIncarnations."""
        request = pb.BatchBeginIncarnationsRequest(
            requests=map(_launch, launches), correlation_ids=correlation_ids
        )
        method = self._workspaces.BatchBeginIncarnations
        found = self._call(self._launches, method, request, timeout)
        return [answers.incarnation(each) if each.incarnation else None for each in found.results]

    def retire(self, *, workspace_id: str, tenant_id: str, timeout: timedelta) -> None:
        """RetireWorkspace."""
        request = pb.RetireWorkspaceRequest(workspace_id=workspace_id, tenant_id=tenant_id)
        self._call(self._launches, self._workspaces.RetireWorkspace, request, timeout)

    def get_registration(self, *, workspace_id: str, timeout: timedelta) -> Registration:
        """GetRegistration."""
        request = pb.GetRegistrationRequest(workspace_id=workspace_id)
        found = self._call(self._launches, self._workspaces.GetRegistration, request, timeout)
        return answers.registration(found.registration)

    def list_registrations_of(
        self, *, workspace_ids: Sequence[str], timeout: timedelta
    ) -> tuple[Registration, ...]:
        """ListRegistrations, of these workspaces."""
        request = pb.ListRegistrationsRequest(page_size=PAGE_SIZE, workspace_ids=workspace_ids)
        found = self._call(self._watching, self._workspaces.ListRegistrations, request, timeout)
        return answers.page(found).registrations

    def list_changed_registrations(
        self, *, after: int, page_token: str, timeout: timedelta
    ) -> RegistrationPage:
        """ListRegistrations, those that changed after a revision."""
        request = pb.ListRegistrationsRequest(
            page_size=PAGE_SIZE, page_token=page_token, changed_after=after
        )
        return answers.page(
            self._call(self._watching, self._workspaces.ListRegistrations, request, timeout)
        )

    def list_registrations_needing_relaunch(
        self, *, page_token: str, timeout: timedelta
    ) -> RegistrationPage:
        """ListRegistrations, those that need a new launch."""
        request = pb.ListRegistrationsRequest(
            needs_relaunch=True, page_size=PAGE_SIZE, page_token=page_token
        )
        return answers.page(
            self._call(self._watching, self._workspaces.ListRegistrations, request, timeout)
        )

    def validate_token(
        self, *, token: Secret, workspace_id: str, timeout: timedelta
    ) -> Bearer | None:
        """ValidateToken for an instance token of this workspace."""
        request = token_service_pb2.ValidateTokenRequest(
            token=token.reveal(),
            workspace_id=workspace_id,
            required_kind=token_pb2.TOKEN_KIND_INSTANCE,
        )
        return answers.bearer(
            self._call(self._bearers, self._tokens.ValidateToken, request, timeout)
        )

    def is_workspace_token(self, *, token: Secret, timeout: timedelta) -> bool:
        """Whether this is a live token of any workspace, of either kind."""
        request = token_service_pb2.ValidateTokenRequest(token=token.reveal(), any_workspace=True)
        return (
            answers.bearer(self._call(self._bearers, self._tokens.ValidateToken, request, timeout))
            is not None
        )

    def trial(self) -> None:
        """Ask the registry's health service, if any breaker wants a trial. A background task calls
        it every second or so.
        """
        wanting = [
            each for each in (self._launches, self._bearers, self._watching) if each.wants_trial
        ]
        if not wanting:
            return
        try:
            answer = self._health.Check(health_pb2.HealthCheckRequest(), timeout=TRIAL_SECONDS)
            serves = answer.status == health_pb2.HealthCheckResponse.SERVING
        except grpc.RpcError as error:
            # That is an answer, too: a proxy before the registry need not let its health service
            # through.
            serves = failure_from(error).code is grpc.StatusCode.UNIMPLEMENTED
        for breaker in wanting:
            if serves:
                breaker.answered()
            else:
                breaker.failed()

    def _call(
        self,
        breaker: Breaker,
        method: Callable[..., Response],
        request: Any,
        timeout: timedelta,
    ) -> Response:
        name = type(request).__name__.removesuffix("Request")
        seconds = _within_the_call(timeout)
        if seconds <= 0:
            raise RegistryUnavailable("no time was left to ask the registry")
        if not breaker.lets_through():
            raise RegistryUnavailable("the registry has not been answering")
        started = time.perf_counter()
        try:
            response = method(request, timeout=seconds)
        except grpc.RpcError as error:
            failure = failure_from(error)
            refused = failure.code in _REFUSALS
            took = time.perf_counter() - started
            self._observe(name, "refused" if refused else "unavailable", took)
            cut_short = seconds < timeout.total_seconds() and failure.code in _CUT_SHORT
            if cut_short:
                breaker.doubted()
                raise RegistryUnavailable(
                    "the call's time was over before the registry answered"
                ) from None
            raise _failed(breaker, name, failure, refused=refused) from None
        breaker.answered()
        self._observe(name, "ok", time.perf_counter() - started)
        return response


def _admission(
    admission: Admission, request_id: str, first_token: FirstToken | None
) -> pb.AdmitWorkspaceRequest:
    request = pb.AdmitWorkspaceRequest(
        workspace_id=admission.workspace_id,
        tenant_id=admission.tenant_id,
        request_id=request_id,
        ticket_required=admission.ticket_required,
        evidence_required=admission.evidence_required,
        remembered_incarnation=admission.remembered_incarnation,
        suspended=admission.suspended,
    )
    if first_token is not None:
        request.first_token.label = first_token.label
        request.first_token.token_sha256 = first_token.token_sha256 or ""
    return request


def _launch(launch: Launch) -> pb.BeginIncarnationRequest:
    ttl = Duration()
    ttl.FromTimedelta(launch.ticket_ttl)
    return pb.BeginIncarnationRequest(
        workspace_id=launch.workspace_id,
        request_id=launch.request_id,
        ticket_ttl=ttl,
        minimum_incarnation=launch.minimum_incarnation,
        lift_suspension=launch.lift_suspension,
        only_if_needed=launch.only_if_needed,
    )


def _failed(breaker: Breaker, name: str, failure: RpcFailure, *, refused: bool) -> Exception:
    reason = failure.reason.removeprefix(_REASON_PREFIX)
    if refused:
        breaker.answered()
        return RegistryRefused(reason or failure.code.name, failure.message)
    log = structlog.get_logger("provision_service")
    if failure.code in _OWN_CREDENTIAL:
        breaker.answered()
        log.error("the registry refuses this service", method=name, reason=reason)
        return RegistryUnavailable("the registry refuses the credential of this service")
    if failure.code is grpc.StatusCode.UNIMPLEMENTED and name in _NEWER:
        # The breaker learns from the unary calls that follow.
        return RegistryOlder(f"the registry does not know {name}")
    tell = log.warning if breaker.failed() else log.debug
    tell("the registry did not answer", method=name, code=failure.code.name)
    return RegistryUnavailable(f"the registry did not answer ({failure.code.name})")


def _within_the_call(timeout: timedelta) -> float:
    call = calls.current_or_none()
    seconds = timeout.total_seconds()
    return seconds if call is None else min(seconds, call.remaining())
