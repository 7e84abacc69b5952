"""AuditService: results to responses."""

from __future__ import annotations

from agentworkspace.registry.v1 import audit_service_pb2 as pb
from agentworkspace.rpc.wire_times import timestamp
from registry_service.commands.list_audit_events import AuditEvent, AuditPage


def page(found: AuditPage) -> pb.ListAuditEventsResponse:
    return pb.ListAuditEventsResponse(
        events=map(_event, found.events), next_page_token=found.next_page_token
    )


def _event(event: AuditEvent) -> pb.AuditEvent:
    return pb.AuditEvent(
        event_id=event.event_id,
        time=timestamp(event.time),
        actor=event.actor,
        method=event.method,
        action=event.action,
        tenant_id=event.tenant_id,
        workspace_id=event.workspace_id,
        subject=event.subject,
        details=event.details,
        correlation_id=event.correlation_id,
    )
