"""AuditService: parse, run, render."""

from __future__ import annotations

from typing_extensions import override

from agentworkspace.provision.v1 import audit_service_pb2 as pb
from agentworkspace.provision.v1 import audit_service_pb2_grpc
from agentworkspace.rpc import calls
from provision_service.api import asking
from provision_service.api.core import Core
from provision_service.api.parse import audit as parse
from provision_service.api.render import audit as render
from provision_service.commands import list_audit_events


class Audit(audit_service_pb2_grpc.AuditServiceServicer):
    def __init__(self, core: Core) -> None:
        self._core = core

    @override
    async def ListAuditEvents(
        self, request: pb.ListAuditEventsRequest, context: object
    ) -> pb.ListAuditEventsResponse:
        command = parse.list_audit_events(request, asking.call(calls.current()))
        return render.listed(
            await self._core.run(lambda store: list_audit_events.run(store, command))
        )
