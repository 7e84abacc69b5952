"""WorkspaceRegistryService: parse, run one command, render."""

from __future__ import annotations

from typing_extensions import override

from agentworkspace.registry.v1 import workspace_registry_service_pb2 as pb
from agentworkspace.registry.v1.workspace_registry_service_pb2_grpc import (
    WorkspaceRegistryServiceServicer,
)
from agentworkspace.rpc import calls
from registry_service.api.core import Core
from registry_service.api.parse import workspaces as parse
from registry_service.api.render import workspaces as render
from registry_service.commands import (
    admit_workspace,
    begin_incarnation,
    diagnose,
    get_registration,
    list_registrations,
    retire_workspace,
)


class Workspaces(WorkspaceRegistryServiceServicer):
    def __init__(self, core: Core) -> None:
        self._core = core

    @override
    async def AdmitWorkspace(
        self, request: pb.AdmitWorkspaceRequest, context: object
    ) -> pb.AdmitWorkspaceResponse:
        core, command = self._core, parse.admit_workspace(request, calls.current())
        answer = await core.share(
            core.hot.admissions,
            admit_workspace.run,
            command,
            new_secret=core.sources.new_secret,
        )
        return render.admitted(answer)

    @override
    async def BeginIncarnation(
        self, request: pb.BeginIncarnationRequest, context: object
    ) -> pb.BeginIncarnationResponse:
        core, sources = self._core, self._core.sources
        command = parse.begin_incarnation(
            request,
            calls.current(),
            new_id=sources.new_id,
        )
        answer = await core.share(
            core.hot.launches, begin_incarnation.run, command, new_secret=sources.new_secret
        )
        return render.begun(answer)

    @override
    async def BatchAdmitWorkspaces(
        self, request: pb.BatchAdmitWorkspacesRequest, context: object
    ) -> pb.BatchAdmitWorkspacesResponse:
        commands = parse.batch_admit_workspaces(request, calls.current())
        core = self._core
        return render.batch_admitted(await core.ask_all(core.hot.admissions, commands))

    @override
    async def BatchBeginIncarnations(
        self, request: pb.BatchBeginIncarnationsRequest, context: object
    ) -> pb.BatchBeginIncarnationsResponse:
        core = self._core
        commands = parse.batch_begin_incarnations(
            request, calls.current(), new_id=core.sources.new_id
        )
        return render.batch_begun(await core.ask_all(core.hot.launches, commands))

    @override
    async def GetRegistration(
        self, request: pb.GetRegistrationRequest, context: object
    ) -> pb.GetRegistrationResponse:
        command = parse.get_registration(request, calls.current())
        found = await self._core.run(get_registration.run, command)
        return pb.GetRegistrationResponse(registration=render.registration(found))

    @override
    async def ListRegistrations(
        self, request: pb.ListRegistrationsRequest, context: object
    ) -> pb.ListRegistrationsResponse:
        command = parse.list_registrations(request, calls.current())
        return render.page(await self._core.run(list_registrations.run, command))

    @override
    async def RetireWorkspace(
        self, request: pb.RetireWorkspaceRequest, context: object
    ) -> pb.RetireWorkspaceResponse:
        command = parse.retire_workspace(request, calls.current())
        return render.retired(await self._core.run(retire_workspace.run, command))

    @override
    async def Diagnose(self, request: pb.DiagnoseRequest, context: object) -> pb.DiagnoseResponse:
        command = parse.diagnose(
            request,
            calls.current(),
            policy=self._core.rules.bootstrap_policy,
        )
        return render.diagnosis(await self._core.run(diagnose.run, command))
