"""AuditService: parse, run, render."""

from __future__ import annotations

from typing_extensions import override

from agentworkspace.provision.v1 import audit_service_pb2 as pb
from agentworkspace.provision.v1.audit_service_pb2_grpc import AuditServiceServicer
from agentworkspace.rpc import calls
from agentworkspace.service.audit import listing
from provision_service.api.core import Core
from provision_service.api.parse.fields import Fields
from provision_service.storage.schema import AUDIT


class Audit(AuditServiceServicer):
    def __init__(self, core: Core) -> None:
        self._core = core

    @override
    async def ListAuditEvents(
        self, request: pb.ListAuditEventsRequest, context: object
    ) -> pb.ListAuditEventsResponse:
        command = listing.parse(request, Fields(), calls.current().require_caller())
        found = await self._core.run(listing.run, AUDIT, command)
        return listing.fill(pb.ListAuditEventsResponse(), AUDIT, found)
