"""What a control plane does with the pair, and the boxes it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

from agentworkspace.client.agent import BlockingAgentClient
from agentworkspace.client.agent.launch import Launch
from agentworkspace.core.secret import Secret
from agentworkspace.provision.v1 import provision_pb2, secret_service_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from tests.lifecycle.processes import ProvisionProcess, RegistryProcess
from tests.rpc.registry_server import LAUNCHER, Running
from tests.rpc.registry_story import SECONDS, Workspace, new_id

SECRETS: Final = {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-lifecycle-0123456789"}


def workspace_at(registry: RegistryProcess, workspace_id: str = "") -> Workspace:
    """The steps of `registry_story`, at a registry in another process."""
    return Workspace(cast(Running, registry), workspace_id=workspace_id or new_id())


def create(provision: ProvisionProcess, request_id: str = "") -> Any:
    return provision.workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(
            request_id=request_id or new_id(),
            tenant_id="acme",
            workspace=workspace_pb2.Workspace(name="agent", model="opus"),
            secrets=SECRETS,
        ),
        metadata=LAUNCHER,
        timeout=SECONDS,
    )


def launch_request(workspace_id: str, request_id: str = "") -> pb.ProvisionWorkspaceRequest:
    return pb.ProvisionWorkspaceRequest(
        workspace_id=workspace_id,
        request_id=request_id or new_id(),
        reason=provision_pb2.PROVISION_REASON_RESTART,
    )


def launch(provision: ProvisionProcess, workspace_id: str, request_id: str = "") -> Any:
    return provision.workspaces.ProvisionWorkspace(
        launch_request(workspace_id, request_id), metadata=LAUNCHER, timeout=SECONDS
    )


def complete(provision: ProvisionProcess, provision_id: str) -> Any:
    return provision.workspaces.CompleteProvision(
        pb.CompleteProvisionRequest(
            provision_id=provision_id, outcome=provision_pb2.PROVISION_OUTCOME_SUCCEEDED
        ),
        metadata=LAUNCHER,
        timeout=SECONDS,
    )


def workspace_of(provision: ProvisionProcess, workspace_id: str) -> Any:
    request = pb.GetWorkspaceRequest(workspace_id=workspace_id)
    answer = provision.workspaces.GetWorkspace(request, metadata=LAUNCHER, timeout=SECONDS)
    return answer.workspace


def launches(provision: ProvisionProcess, workspace_id: str) -> list[Any]:
    """Newest first; one that holds the claim counts before its environment is delivered."""
    request = pb.ListProvisionsRequest(workspace_id=workspace_id)
    answer = provision.workspaces.ListProvisions(request, metadata=LAUNCHER, timeout=SECONDS)
    return list(answer.provisions)


def set_secret(provision: ProvisionProcess, workspace_id: str, key: str, value: str) -> None:
    request = secret_service_pb2.SetWorkspaceSecretRequest(
        workspace_id=workspace_id, key=key, value=value
    )
    provision.secrets.SetWorkspaceSecret(request, metadata=LAUNCHER, timeout=SECONDS)


def delete_secret(provision: ProvisionProcess, workspace_id: str, key: str) -> None:
    request = secret_service_pb2.DeleteWorkspaceSecretRequest(workspace_id=workspace_id, key=key)
    provision.secrets.DeleteWorkspaceSecret(request, metadata=LAUNCHER, timeout=SECONDS)


def box_of(env: Any, directory: Path) -> BlockingAgentClient:
    """The agent client as a launched box would make it."""
    state = str(directory / f"{new_id()}.json")
    return BlockingAgentClient.from_environment(environ={**env, "WORKSPACE_STATE_FILE": state})


def box_with(
    registry: RegistryProcess, workspace: Workspace, ticket: str, incarnation: int
) -> BlockingAgentClient:
    return BlockingAgentClient(
        Launch(
            workspace_id=workspace.workspace_id,
            address=registry.address,
            ticket=Secret(ticket),
            incarnation=incarnation,
        )
    )


def held(box: BlockingAgentClient) -> str:
    """The token it lives by."""
    bearer = box.bearer()
    if bearer is None:
        raise AssertionError("not admitted")
    return bearer.reveal()
