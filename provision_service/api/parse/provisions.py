"""WorkspaceService, the launches: requests to commands."""

from __future__ import annotations

import re
from typing import Final

from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from provision_service.api import wire_enums
from provision_service.api.parse.fields import Fields
from provision_service.commands.call import Call
from provision_service.commands.get_provision import GetProvision
from provision_service.commands.list_provisions import ListProvisions
from provision_service.domain.lifecycle import ProvisionOutcome
from provision_service.domain.records import ProvisionError
from provision_service.launch.complete_provision import CompleteProvision
from provision_service.launch.extend_provision import ExtendProvision
from provision_service.launch.provision_workspace import ProvisionWorkspace

LONGEST_MESSAGE: Final = 1000
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,99}", re.ASCII)


def provision_workspace(
    request: pb.ProvisionWorkspaceRequest, call: Call, *, new_id: str, new_request_id: str
) -> ProvisionWorkspace:
    fields = Fields()
    command = ProvisionWorkspace(
        call=call,
        workspace_id=fields.workspace_id(request.workspace_id),
        provision_id=new_id,
        reason=fields.named(request.reason, "reason", wire_enums.LAUNCH_REASON_OF),
        request_id=fields.optional_uuid(request.request_id, "request_id") or new_request_id,
        validate_only=request.validate_only,
    )
    return fields.finish(command)


def extend_provision(request: pb.ExtendProvisionRequest, call: Call) -> ExtendProvision:
    fields = Fields()
    command = ExtendProvision(call=call, provision_id=fields.provision_id(request.provision_id))
    return fields.finish(command)


def complete_provision(request: pb.CompleteProvisionRequest, call: Call) -> CompleteProvision:
    fields = Fields()
    outcome = fields.named(request.outcome, "outcome", wire_enums.OUTCOME_OF)
    command = CompleteProvision(
        call=call,
        provision_id=fields.provision_id(request.provision_id),
        outcome=outcome,
        error=_error(fields, request, outcome),
    )
    return fields.finish(command)


def get_provision(request: pb.GetProvisionRequest, call: Call) -> GetProvision:
    fields = Fields()
    command = GetProvision(call=call, provision_id=fields.provision_id(request.provision_id))
    return fields.finish(command)


def list_provisions(request: pb.ListProvisionsRequest, call: Call) -> ListProvisions:
    fields = Fields()
    command = ListProvisions(
        call=call,
        workspace_id=fields.optional_uuid(request.workspace_id, "workspace_id"),
        tenant_id=fields.optional_tenant_id(request.tenant_id),
        state=fields.optional_named(request.state, "state", wire_enums.STATE_OF),
        id_range=fields.id_range(request.id_prefix, "id_prefix"),
        page_size=fields.page_size(request.page_size),
        page_token=fields.page_token(request.page_token),
    )
    return fields.finish(command)


def _error(
    fields: Fields, request: pb.CompleteProvisionRequest, outcome: ProvisionOutcome
) -> ProvisionError | None:
    if not request.HasField("error"):
        return None
    if outcome is not ProvisionOutcome.FAILED:
        fields.refuse("error", "goes with FAILED only")
    code = request.error.code
    if code and not _CODE.fullmatch(code):
        fields.refuse("error.code", "must be a short name in upper case, such as IMAGE_MISSING")
    message = request.error.message.replace("\n", " ").strip()
    message = fields.text(message, "error.message", at_most=LONGEST_MESSAGE)
    return ProvisionError(code=code, message=message) if code or message else None
