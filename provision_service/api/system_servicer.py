"""SystemService: what runs here, and who is asking."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from typing_extensions import override

from agentworkspace.provision.v1 import system_service_pb2 as pb
from agentworkspace.provision.v1.system_service_pb2_grpc import SystemServiceServicer
from agentworkspace.rpc import calls
from agentworkspace.service.system_info import SystemInfo, database_state
from provision_service.api.core import Core
from provision_service.domain.registry_port import Registry, RegistryRefused, RegistryUnavailable
from provision_service.storage.keyring import Keyring

_NOBODY: Final = "00000000-0000-0000-0000-000000000000"
_BUDGET: Final = timedelta(seconds=2)


class System(SystemServiceServicer):
    def __init__(self, core: Core, info: SystemInfo, keyring: Callable[[], Keyring]) -> None:
        self._core = core
        self._info = info
        self._keyring = keyring

    @override
    async def GetSystemInfo(
        self, request: pb.GetSystemInfoRequest, context: object
    ) -> pb.GetSystemInfoResponse:
        caller = calls.current().require_caller()
        state = await self._core.run(database_state, self._info.schema)
        fault = await self._core.pool.run(lambda: _fault_of(self._core.registry))
        keyring = self._keyring()
        answer = pb.GetSystemInfoResponse(
            secrets_key_id=keyring.current,
            secrets_key_ids=sorted(keyring.key_ids),
            box_registry_address=self._core.deployment.registry_address,
            box_registry_ca=self._core.deployment.registry_ca(),
            registry_fault=fault,
        )
        return self._info.fill(answer, state, caller)


def _fault_of(registry: Registry) -> str:
    """Why a launch could not use the registry now: the connection, the credential or its role;
    empty when it could.
    """
    try:
        registry.list_registrations_of(workspace_ids=(_NOBODY,), timeout=_BUDGET)
    except (RegistryUnavailable, RegistryRefused) as fault:
        return str(fault)
    return ""
