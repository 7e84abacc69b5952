"""WorkspaceRegistryService: requests to commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import zip_longest
from typing import Final, TypeVar

from agentworkspace.core.ids import RequestId
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as pb
from agentworkspace.rpc import calls
from agentworkspace.rpc.calls import Call
from registry_service.api import wire_enums
from registry_service.api.parse.fields import Fields, origin_of
from registry_service.api.parse.tokens import LONGEST_LABEL, ttl
from registry_service.commands.admit_workspace import AdmitWorkspace, FirstToken
from registry_service.commands.begin_incarnation import TICKET_TTL, BeginIncarnation
from registry_service.commands.diagnose import Diagnose
from registry_service.commands.get_registration import GetRegistration
from registry_service.commands.list_registrations import ListRegistrations
from registry_service.commands.retire_workspace import RetireWorkspace
from registry_service.domain.standing import BootstrapPolicy

SHORTEST_TICKET: Final = timedelta(seconds=1)
LONGEST_TICKET: Final = timedelta(hours=24)
LARGEST_BATCH: Final = 100

Part = TypeVar("Part", pb.AdmitWorkspaceRequest, pb.BeginIncarnationRequest)


def admit_workspace(request: pb.AdmitWorkspaceRequest, call: Call) -> AdmitWorkspace:
    fields = Fields()
    return fields.finish(_admission(fields, request, call))


def batch_admit_workspaces(
    request: pb.BatchAdmitWorkspacesRequest, call: Call
) -> list[AdmitWorkspace]:
    fields = Fields()
    return fields.finish(
        [
            replace(_admission(part, each, own), with_registration=False)
            for each, part, own in _parts(fields, request.requests, request.correlation_ids, call)
        ]
    )


def begin_incarnation(
    request: pb.BeginIncarnationRequest, call: Call, *, new_id: Callable[[], str]
) -> BeginIncarnation:
    """A launch without a request_id is given a fresh one; such a launch cannot be repeated."""
    fields = Fields()
    return fields.finish(_launch(fields, request, call, new_id))


def batch_begin_incarnations(
    request: pb.BatchBeginIncarnationsRequest, call: Call, *, new_id: Callable[[], str]
) -> list[BeginIncarnation]:
    fields = Fields()
    return fields.finish(
        [
            _launch(part, each, own, new_id)
            for each, part, own in _parts(fields, request.requests, request.correlation_ids, call)
        ]
    )


def get_registration(request: pb.GetRegistrationRequest, call: Call) -> GetRegistration:
    fields = Fields()
    command = GetRegistration(
        caller=call.require_caller(),
        workspace_id=fields.workspace_id(request.workspace_id),
    )
    return fields.finish(command)


def list_registrations(request: pb.ListRegistrationsRequest, call: Call) -> ListRegistrations:
    fields = Fields()
    command = ListRegistrations(
        caller=call.require_caller(),
        tenant_id=fields.optional_tenant_id(request.tenant_id),
        state=fields.optional_named(request.state, "state", wire_enums.STATE_OF),
        needs_relaunch=request.needs_relaunch,
        relaunch_reason=fields.optional_named(
            request.relaunch_reason, "relaunch_reason", wire_enums.RELAUNCH_REASON_OF
        ),
        changed_after=fields.at_least_zero(request.changed_after, "changed_after")
        if request.HasField("changed_after")
        else None,
        page_size=fields.page_size(request.page_size),
        page_token=fields.page_token(request.page_token),
        workspace_ids=fields.workspace_ids(request.workspace_ids),
        id_range=fields.id_range(request.id_prefix, "id_prefix"),
    )
    return fields.finish(command)


def retire_workspace(request: pb.RetireWorkspaceRequest, call: Call) -> RetireWorkspace:
    fields = Fields()
    command = RetireWorkspace(
        origin=origin_of(call),
        caller=call.require_caller(),
        workspace_id=fields.workspace_id(request.workspace_id),
        tenant_id=fields.optional_tenant_id(request.tenant_id),
    )
    return fields.finish(command)


def diagnose(
    request: pb.DiagnoseRequest,
    call: Call,
    *,
    policy: BootstrapPolicy,
) -> Diagnose:
    fields = Fields()
    command = Diagnose(
        caller=call.require_caller(),
        workspace_id=fields.workspace_id(request.workspace_id),
        policy=policy,
    )
    return fields.finish(command)


def _parts(
    fields: Fields, requests: Sequence[Part], correlation_ids: Sequence[str], call: Call
) -> Iterator[tuple[Part, Fields, Call]]:
    """Each request of a batch, who reads it, and the call with the correlation id of its own."""
    if not 1 <= len(requests) <= LARGEST_BATCH:
        fields.refuse("requests", f"must be 1 to {LARGEST_BATCH}")
    if len(correlation_ids) > len(requests):
        fields.refuse("correlation_ids", "must be no more than there are requests")
    fields.finish(None)
    for index, (each, arrived) in enumerate(zip_longest(requests, correlation_ids)):
        correlation_id = calls.correlation_id_of(arrived, lambda: call.correlation_id)
        own = replace(call, correlation_id=correlation_id)
        yield each, fields.within(f"requests[{index}]."), own


def _admission(fields: Fields, request: pb.AdmitWorkspaceRequest, call: Call) -> AdmitWorkspace:
    return AdmitWorkspace(
        origin=origin_of(call),
        caller=call.require_caller(),
        workspace_id=fields.workspace_id(request.workspace_id),
        tenant_id=fields.tenant_id(request.tenant_id),
        request_id=fields.request_id(request.request_id),
        first_token=_first_token(fields, request.first_token)
        if request.HasField("first_token")
        else None,
        ticket_required=request.ticket_required,
        evidence_required=request.evidence_required,
        remembered_incarnation=fields.at_least_zero(
            request.remembered_incarnation, "remembered_incarnation"
        ),
        suspended=request.suspended,
    )


def _launch(
    fields: Fields, request: pb.BeginIncarnationRequest, call: Call, new_id: Callable[[], str]
) -> BeginIncarnation:
    return BeginIncarnation(
        origin=origin_of(call),
        caller=call.require_caller(),
        workspace_id=fields.workspace_id(request.workspace_id),
        request_id=fields.request_id(request.request_id) or RequestId(new_id()),
        ticket_ttl=fields.span(
            request.ticket_ttl, "ticket_ttl", at_least=SHORTEST_TICKET, at_most=LONGEST_TICKET
        )
        if request.HasField("ticket_ttl")
        else TICKET_TTL,
        ticket_sha256=fields.sha256(request.ticket_sha256, "ticket_sha256"),
        lift_suspension=request.lift_suspension,
        minimum_incarnation=fields.at_least_zero(
            request.minimum_incarnation, "minimum_incarnation"
        ),
        only_if_needed=request.only_if_needed,
    )


def _first_token(fields: Fields, token: pb.FirstToken) -> FirstToken:
    place = "first_token."
    return FirstToken(
        label=fields.text(token.label, place + "label", at_most=LONGEST_LABEL),
        scopes=fields.scopes(token.scopes, place + "scopes"),
        ttl=ttl(fields, token.ttl, place + "ttl") if token.HasField("ttl") else None,
        token_sha256=fields.sha256(token.token_sha256, place + "token_sha256"),
    )
