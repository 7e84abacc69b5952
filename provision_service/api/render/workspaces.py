"""Workspaces as they stand."""

from __future__ import annotations

from google.protobuf import json_format

from agentworkspace.provision.v1 import resolution_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.rpc.wire_enums import number_of_text
from agentworkspace.rpc.wire_times import timestamp
from agentworkspace.service.paging import Page
from provision_service.api import wire_enums
from provision_service.api.render.billing import resolution, warnings
from provision_service.commands.create_workspace import CreateWorkspaceResult
from provision_service.commands.update_workspace import UpdateWorkspaceResult
from provision_service.domain.records import LastError, NeedsLaunch, Workspace


def workspace(stored: Workspace) -> workspace_pb2.Workspace:
    spec = stored.spec
    message = workspace_pb2.Workspace(
        id=stored.id,
        tenant_id=stored.tenant_id,
        name=spec.name,
        runtime=spec.runtime,
        model=spec.model,
        template=spec.template,
        parent_id=spec.parent_id,
        tier=spec.tier,
        role=spec.role,
        max_concurrent_tasks=spec.max_concurrent_tasks,
        budget_limit_micros=spec.budget_limit_micros or 0,
        delivery_mode=spec.delivery_mode,
        url=spec.url,
        workspace_access=spec.workspace_access,
        delivered_by=number_of_text(
            wire_enums.DELIVERY_MODE, spec.delivery_mode, workspace_pb2.DELIVERY_MODE_UNSPECIFIED
        ),
        access=number_of_text(
            wire_enums.ACCESS, spec.workspace_access, workspace_pb2.WORKSPACE_ACCESS_UNSPECIFIED
        ),
        override_mode=number_of_text(
            wire_enums.MODE, spec.billing_mode_override, resolution_pb2.BILLING_MODE_UNSPECIFIED
        ),
        required_env=spec.required_env,
        status=wire_enums.STATUS[stored.status],
        incarnation=stored.incarnation,
        etag=stored.etag,
        input_revision=stored.input_revision,
        create_time=timestamp(stored.create_time),
        update_time=timestamp(stored.update_time),
        remove_time=timestamp(stored.remove_time),
        last_error=_last_error(stored.last_error),
        needs_launch=_needs_launch(stored.needs_launch),
        admitted=stored.admitted,
    )
    if spec.compute:
        json_format.ParseDict(dict(spec.compute), message.compute)
    if spec.billing_mode_override:
        message.billing_mode_override = spec.billing_mode_override
    return message


def created(result: CreateWorkspaceResult) -> pb.CreateWorkspaceResponse:
    return pb.CreateWorkspaceResponse(
        workspace=workspace(result.workspace),
        billing=resolution(result.billing),
        auth_token=result.auth_token.reveal() if result.auth_token else "",
        auth_token_error=result.auth_token_error,
        warnings=warnings(result.warnings),
    )


def updated(result: UpdateWorkspaceResult) -> pb.UpdateWorkspaceResponse:
    return pb.UpdateWorkspaceResponse(
        workspace=workspace(result.workspace),
        billing=resolution(result.billing),
        warnings=warnings(result.warnings),
    )


def listed(page: Page[Workspace]) -> pb.ListWorkspacesResponse:
    return pb.ListWorkspacesResponse(
        workspaces=[workspace(each) for each in page.rows],
        next_page_token=page.next_page_token,
    )


def _last_error(error: LastError | None) -> workspace_pb2.LastError | None:
    if error is None:
        return None
    return workspace_pb2.LastError(
        code=error.code,
        message=error.message,
        incarnation=error.incarnation,
        time=timestamp(error.time),
    )


def _needs_launch(needs: NeedsLaunch | None) -> workspace_pb2.NeedsLaunch | None:
    if needs is None:
        return None
    return workspace_pb2.NeedsLaunch(
        reason=wire_enums.NEEDS_LAUNCH[needs.reason], since=timestamp(needs.since)
    )
