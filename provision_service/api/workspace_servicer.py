"""WorkspaceService: parse, run, render."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from typing_extensions import override

from agentworkspace.core.refusal import Refusal
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.provision.v1 import workspace_service_pb2_grpc
from provision_service.api.core import Core, current_call
from provision_service.api.parse import provisions as parse_provisions
from provision_service.api.parse import workspaces as parse
from provision_service.api.render import provisions as render_provisions
from provision_service.api.render import workspaces as render
from provision_service.commands import (
    create_workspace,
    get_provision,
    get_workspace,
    list_provisions,
    list_workspaces,
    remove_workspace,
    update_workspace,
)
from provision_service.commands.create_workspace import CreateWorkspaceResult
from provision_service.domain.records import Billing
from provision_service.launch import (
    complete_provision,
    extend_provision,
    provision_workspace,
)
from provision_service.launch.provision_workspace import (
    ProvisionWorkspace,
    ProvisionWorkspaceResult,
)

_URL: Final = "workspace.url"


class Workspaces(workspace_service_pb2_grpc.WorkspaceServiceServicer):
    def __init__(self, core: Core) -> None:
        self._core = core

    @override
    async def CreateWorkspace(
        self, request: pb.CreateWorkspaceRequest, context: object
    ) -> pb.CreateWorkspaceResponse:
        core = self._core
        command = parse.create_workspace(
            request, current_call(), new_id=core.new_id(), new_request_id=core.new_id()
        )
        if command.spec.url:
            command.call.caller.require_tenant(command.tenant_id)
            refusal = await core.urls.refusal_of(command.spec.url, _URL)
            command = replace(command, url_refusal=refusal)
        result = await self._created(command)
        if result.auth_token_error:
            core.wake_outbox()
        self._count_mode(result.billing)
        return render.created(result)

    async def _created(self, command: create_workspace.CreateWorkspace) -> CreateWorkspaceResult:
        """Made in a batch with other creates, or alone where the batch answers None."""
        core = self._core
        made = await core.ask(core.hot.creates, command)
        if isinstance(made, CreateWorkspaceResult):
            return made
        if made is None:
            return await core.run(
                create_workspace.run, command, core.deployment, core.registry, core.prober
            )
        return await core.finish(
            create_workspace.answer, command, core.deployment, core.registry, stored=made
        )

    @override
    async def GetWorkspace(
        self, request: pb.GetWorkspaceRequest, context: object
    ) -> pb.GetWorkspaceResponse:
        core, command = self._core, parse.get_workspace(request, current_call())
        found = await core.run(get_workspace.run, command, core.deployment, core.registry)
        return pb.GetWorkspaceResponse(workspace=render.workspace(found))

    @override
    async def ListWorkspaces(
        self, request: pb.ListWorkspacesRequest, context: object
    ) -> pb.ListWorkspacesResponse:
        command = parse.list_workspaces(request, current_call())
        return render.listed(await self._core.run(list_workspaces.run, command))

    @override
    async def UpdateWorkspace(
        self, request: pb.UpdateWorkspaceRequest, context: object
    ) -> pb.UpdateWorkspaceResponse:
        core = self._core
        command = parse.update_workspace(request, current_call(), new_request_id=core.new_id())
        if command.spec.url:
            refusal = await core.urls.refusal_of(command.spec.url, _URL)
            command = replace(command, url_refusal=refusal)
        return render.updated(await core.run(update_workspace.run, command, core.deployment))

    @override
    async def RemoveWorkspace(
        self, request: pb.RemoveWorkspaceRequest, context: object
    ) -> pb.RemoveWorkspaceResponse:
        core, command = self._core, parse.remove_workspace(request, current_call())
        found = await core.run(remove_workspace.run, command, core.deployment, core.registry)
        core.wake_outbox()
        return pb.RemoveWorkspaceResponse(workspace=render.workspace(found))

    @override
    async def ProvisionWorkspace(
        self, request: pb.ProvisionWorkspaceRequest, context: object
    ) -> pb.ProvisionWorkspaceResponse:
        core = self._core
        command = parse_provisions.provision_workspace(
            request, current_call(), new_id=core.new_id(), new_request_id=core.new_id()
        )
        try:
            result = await self._launched(command)
        except Refusal as refusal:
            core.metrics.launch_refused(command.reason, refusal.reason)
            raise
        core.metrics.launched(command.reason, _outcome(command, result))
        self._count_mode(result.provision.billing)
        return render_provisions.delivered(result)

    async def _launched(
        self, command: provision_workspace.ProvisionWorkspace
    ) -> ProvisionWorkspaceResult:
        """Made in a batch with other launches, or alone where the batch answers None."""
        core = self._core
        made = await core.ask(core.hot.launches, command)
        if isinstance(made, ProvisionWorkspaceResult):
            return made
        if made is None:
            return await core.run(
                provision_workspace.run, command, core.deployment, core.registry, core.prober
            )
        return await core.finish(
            provision_workspace.go_on, command, core.deployment, core.registry, begun=made
        )

    @override
    async def ExtendProvision(
        self, request: pb.ExtendProvisionRequest, context: object
    ) -> pb.ExtendProvisionResponse:
        core, command = self._core, parse_provisions.extend_provision(request, current_call())
        return render_provisions.extended(
            await core.run(extend_provision.run, command, core.deployment)
        )

    @override
    async def CompleteProvision(
        self, request: pb.CompleteProvisionRequest, context: object
    ) -> pb.CompleteProvisionResponse:
        command = parse_provisions.complete_provision(request, current_call())
        return render_provisions.completed(await self._core.run(complete_provision.run, command))

    @override
    async def GetProvision(
        self, request: pb.GetProvisionRequest, context: object
    ) -> pb.GetProvisionResponse:
        core, command = self._core, parse_provisions.get_provision(request, current_call())
        found = await core.run(get_provision.run, command, core.deployment, core.registry)
        return pb.GetProvisionResponse(provision=render_provisions.provision(found))

    @override
    async def ListProvisions(
        self, request: pb.ListProvisionsRequest, context: object
    ) -> pb.ListProvisionsResponse:
        command = parse_provisions.list_provisions(request, current_call())
        return render_provisions.listed(await self._core.run(list_provisions.run, command))

    def _count_mode(self, billing: Billing | None) -> None:
        if billing is not None:
            resolution = billing.resolution
            self._core.metrics.resolved(resolution.resolved_mode, resolution.source)


def _outcome(command: ProvisionWorkspace, result: ProvisionWorkspaceResult) -> str:
    if result.skipped:
        return "skipped"
    if result.joined:
        return "joined"
    return "validated" if command.validate_only else "delivered"
