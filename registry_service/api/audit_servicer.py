"""AuditService: parse, run one command, render."""

from __future__ import annotations

from typing_extensions import override

from agentworkspace.registry.v1 import audit_service_pb2 as pb
from agentworkspace.registry.v1.audit_service_pb2_grpc import AuditServiceServicer
from agentworkspace.rpc import calls
from registry_service.api.core import Core
from registry_service.api.parse import audit as parse
from registry_service.api.render import audit as render
from registry_service.commands import list_audit_events


class Audit(AuditServiceServicer):
    def __init__(self, core: Core) -> None:
        self._core = core

    @override
    async def ListAuditEvents(
        self, request: pb.ListAuditEventsRequest, context: object
    ) -> pb.ListAuditEventsResponse:
        command = parse.list_audit_events(request, calls.current())
        return render.page(await self._core.run(list_audit_events.run, command))
