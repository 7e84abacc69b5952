"""AuditService: requests to commands."""

from __future__ import annotations

from typing import Final

from agentworkspace.registry.v1 import audit_service_pb2 as pb
from agentworkspace.rpc.calls import Call
from registry_service.api.parse.fields import Fields
from registry_service.commands.list_audit_events import ListAuditEvents

LONGEST_ACTION: Final = 100


def list_audit_events(request: pb.ListAuditEventsRequest, call: Call) -> ListAuditEvents:
    fields = Fields()
    command = ListAuditEvents(
        caller=call.require_caller(),
        tenant_id=fields.optional_tenant_id(request.tenant_id),
        workspace_id=fields.optional_workspace_id(request.workspace_id),
        action=fields.text(request.action, "action", at_most=LONGEST_ACTION) or None,
        page_size=fields.page_size(request.page_size),
        page_token=fields.page_token(request.page_token),
    )
    fields.finish()
    return command
