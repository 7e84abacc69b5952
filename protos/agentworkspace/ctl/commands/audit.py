"""`audit`: who changed what, in either service."""

from __future__ import annotations

import argparse

from agentworkspace.ctl.arguments import PAGING, tenant_filter, workspace_option
from agentworkspace.ctl.command import Answer, Command, Group, argument
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.paging import listed
from agentworkspace.provision.v1 import audit_service_pb2 as provision_audit
from agentworkspace.provision.v1 import audit_service_pb2_grpc as provision_stubs
from agentworkspace.registry.v1 import audit_service_pb2 as registry_audit
from agentworkspace.registry.v1 import audit_service_pb2_grpc as registry_stubs

_COLUMNS = {
    "TIME": "time",
    "ACTOR": "actor",
    "ACTION": "action",
    "TENANT": "tenant_id",
    "WORKSPACE": "workspace_id",
    "SUBJECT": "subject",
    "DETAILS": "details",
    "CORRELATION": "correlation_id",
}
_WIDE = ("TENANT", "DETAILS", "CORRELATION")
_FILTERS = (
    tenant_filter(),
    workspace_option("only of this workspace"),
    argument("--action", default="", metavar="ACTION", help="only of this action"),
    *PAGING,
)


def _registry(args: argparse.Namespace, session: Session) -> Answer:
    method = registry_stubs.AuditServiceStub(session.registry).ListAuditEvents
    request = registry_audit.ListAuditEventsRequest(
        tenant_id=args.tenant, workspace_id=args.workspace, action=args.action
    )
    return listed(args, session, method, request, rows="events", columns=_COLUMNS, wide=_WIDE)


def _provision(args: argparse.Namespace, session: Session) -> Answer:
    method = provision_stubs.AuditServiceStub(session.provision).ListAuditEvents
    request = provision_audit.ListAuditEventsRequest(
        tenant_id=args.tenant, workspace_id=args.workspace, action=args.action
    )
    return listed(args, session, method, request, rows="events", columns=_COLUMNS, wide=_WIDE)


GROUP = Group(
    "audit",
    "who changed what",
    (
        Command(
            "registry", "changes of tokens and registrations, newest first", _registry, _FILTERS
        ),
        Command(
            "provision",
            "changes of specs, secrets and launches, newest first",
            _provision,
            _FILTERS,
        ),
    ),
)
