"""What a workspace is doing now, for the questions that are asked before something ends."""

from __future__ import annotations

from typing import Final

import grpc

from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.output import short_name
from agentworkspace.provision.v1 import workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as messages
from agentworkspace.provision.v1.workspace_service_pb2_grpc import WorkspaceServiceStub

_UP: Final = (
    workspace_pb2.WORKSPACE_STATUS_PROVISIONING,
    workspace_pb2.WORKSPACE_STATUS_RUNNING,
    workspace_pb2.WORKSPACE_STATUS_DEGRADED,
)


def workspace_of(session: Session, workspace_id: str) -> workspace_pb2.Workspace:
    """The workspace as provision-service knows it. Raises grpc.RpcError."""
    request = messages.GetWorkspaceRequest(workspace_id=workspace_id)
    method = WorkspaceServiceStub(session.provision).GetWorkspace
    return session.call(method, request).workspace


def is_up(workspace: workspace_pb2.Workspace) -> bool:
    """Whether a box runs or is being launched."""
    return workspace.status in _UP


def described(workspace: workspace_pb2.Workspace) -> str:
    """`workspace scribe (6b2f…) of tenant acme, RUNNING as incarnation 3,`: within a sentence."""
    status = short_name(workspace_pb2.WorkspaceStatus.DESCRIPTOR, workspace.status)
    launched = f" as incarnation {workspace.incarnation}" if workspace.incarnation else ""
    return (
        f"workspace {workspace.name} ({workspace.id}) of tenant {workspace.tenant_id},"
        f" {status}{launched},"
    )


def box_of(session: Session, workspace_id: str) -> str:
    """`described` by id; only the id when provision-service does not know it or cannot be asked."""
    try:
        return described(workspace_of(session, workspace_id))
    except grpc.RpcError:
        return f"workspace {workspace_id}"
