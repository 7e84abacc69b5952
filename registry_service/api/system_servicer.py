"""SystemService: what runs here, and who is asking."""

from __future__ import annotations

from typing_extensions import override

from agentworkspace.registry.v1 import system_service_pb2 as pb
from agentworkspace.registry.v1.system_service_pb2_grpc import SystemServiceServicer
from agentworkspace.rpc import calls
from agentworkspace.service.system_info import SystemInfo, database_state
from registry_service.api.core import Core


class System(SystemServiceServicer):
    def __init__(self, core: Core, info: SystemInfo) -> None:
        self._core = core
        self._info = info

    @override
    async def GetSystemInfo(
        self, request: pb.GetSystemInfoRequest, context: object
    ) -> pb.GetSystemInfoResponse:
        caller = calls.current().require_caller()
        state = await self._core.run(database_state, self._info.schema)
        return self._info.fill(pb.GetSystemInfoResponse(), state, caller)
