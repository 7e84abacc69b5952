"""AuditService: requests to commands."""

from __future__ import annotations

from typing import Final

from agentworkspace.provision.v1 import audit_service_pb2 as pb
from provision_service.api.parse.fields import Fields
from provision_service.commands.call import Call
from provision_service.commands.list_audit_events import ListAuditEvents

LONGEST_ACTION: Final = 100


def list_audit_events(request: pb.ListAuditEventsRequest, call: Call) -> ListAuditEvents:
    fields = Fields()
    command = ListAuditEvents(
        call=call,
        tenant_id=fields.optional_tenant_id(request.tenant_id),
        workspace_id=fields.optional_uuid(request.workspace_id, "workspace_id"),
        action=fields.text(request.action, "action", at_most=LONGEST_ACTION),
        page_size=fields.page_size(request.page_size),
        page_token=fields.page_token(request.page_token),
    )
    fields.finish()
    return command
