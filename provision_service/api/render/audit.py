"""Audit events."""

from __future__ import annotations

from agentworkspace.core.audit import AuditEvent
from agentworkspace.provision.v1 import audit_service_pb2 as pb
from agentworkspace.rpc.wire_times import timestamp
from provision_service.commands.list_audit_events import ListAuditEventsResult


def listed(result: ListAuditEventsResult) -> pb.ListAuditEventsResponse:
    return pb.ListAuditEventsResponse(
        events=[_event(each) for each in result.events], next_page_token=result.next_page_token
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
        details=dict(event.details),
        correlation_id=event.correlation_id,
    )
