"""The calls that the incidents are made of."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.duration_pb2 import Duration

from agentworkspace.provision.v1 import (
    billing_service_pb2,
    provision_pb2,
    workspace_pb2,
    workspace_service_pb2,
)
from agentworkspace.registry.v1 import (
    registration_service_pb2,
    token_pb2,
    token_service_pb2,
    workspace_registry_service_pb2,
)
from deploy.demo.stage import Answer, Stage, fresh_id, pause

MOST_TRIES = 120


def create(
    stage: Stage,
    tenant: str,
    model: str,
    secrets: Mapping[str, str],
    *,
    template: str = "",
    runtime: str = "claude-code",
    auth_token_sha256: str = "",
) -> Answer[workspace_service_pb2.CreateWorkspaceResponse]:
    return stage.as_admin(
        stage.workspaces.CreateWorkspace,
        workspace_service_pb2.CreateWorkspaceRequest(
            request_id=fresh_id(),
            tenant_id=tenant,
            workspace=workspace_pb2.Workspace(
                name="demo", runtime=runtime, model=model, template=template
            ),
            secrets=secrets,
            auth_token_sha256=auth_token_sha256,
        ),
    )


def metered_tenant(stage: Stage) -> tuple[str, str]:
    """Make a tenant for whose models the platform can pay: its id and its usage token."""
    tenant, usage_token = f"metered-{fresh_id()[:8]}", f"demo-usage-{fresh_id()}"
    stage.as_admin(
        stage.billing.SetTenantBilling,
        billing_service_pb2.SetTenantBillingRequest(
            tenant_id=tenant, platform_usage_token=usage_token, create=True
        ),
    )
    return tenant, usage_token


def launch(
    stage: Stage, workspace: str, reason: str
) -> Answer[workspace_service_pb2.ProvisionWorkspaceResponse]:
    return stage.as_admin(
        stage.workspaces.ProvisionWorkspace,
        workspace_service_pb2.ProvisionWorkspaceRequest(
            workspace_id=workspace,
            reason=provision_pb2.ProvisionReason.Value(f"PROVISION_REASON_{reason}"),
            request_id=fresh_id(),
        ),
    )


def started(stage: Stage, provision: str) -> None:
    """Report that the box of this launch was started, which frees the claim."""
    stage.as_admin(
        stage.workspaces.CompleteProvision,
        workspace_service_pb2.CompleteProvisionRequest(
            provision_id=provision, outcome=provision_pb2.PROVISION_OUTCOME_SUCCEEDED
        ),
    )


def register(
    stage: Stage, workspace: str, *, ticket: str = "", bearer: str = ""
) -> Answer[registration_service_pb2.RegisterResponse]:
    return stage.as_box(
        stage.registrations.Register,
        registration_service_pb2.RegisterRequest(
            workspace_id=workspace, bootstrap_ticket=ticket, request_id=fresh_id()
        ),
        bearer,
    )


def admitted(stage: Stage) -> str:
    """Admit a workspace at the registry alone: its id."""
    workspace = fresh_id()
    stage.as_admin(
        stage.registered.AdmitWorkspace,
        workspace_registry_service_pb2.AdmitWorkspaceRequest(
            workspace_id=workspace, tenant_id="acme", request_id=fresh_id(), ticket_required=True
        ),
    )
    return workspace


def begun(
    stage: Stage, workspace: str, *, ticket_seconds: int = 600
) -> workspace_registry_service_pb2.BeginIncarnationResponse:
    """Begin an incarnation, which is all that the registry sees of a launch."""
    return stage.as_admin(
        stage.registered.BeginIncarnation,
        workspace_registry_service_pb2.BeginIncarnationRequest(
            workspace_id=workspace,
            request_id=fresh_id(),
            ticket_ttl=Duration(seconds=ticket_seconds),
        ),
    ).message


def until_let_in(
    stage: Stage, workspace: str, *, bearer: str
) -> Answer[registration_service_pb2.RegisterResponse]:
    """Register as a box does: again for as long as the refusal says RETRY."""
    for _ in range(MOST_TRIES):
        answer = register(stage, workspace, bearer=bearer)
        if answer.ok or answer.recovery != "RETRY":
            break
        pause()
    return answer


def revoked(
    stage: Stage, workspace: str, reason: str
) -> Answer[token_service_pb2.RevokeWorkspaceTokensResponse]:
    """Revoke all tokens of a workspace."""
    return stage.as_admin(
        stage.tokens.RevokeWorkspaceTokens,
        token_service_pb2.RevokeWorkspaceTokensRequest(
            workspace_id=workspace, reason=token_pb2.RevokeReason.Value(f"REVOKE_REASON_{reason}")
        ),
    )


def status(stage: Stage, workspace: str) -> str:
    answer = stage.as_admin(
        stage.workspaces.GetWorkspace,
        workspace_service_pb2.GetWorkspaceRequest(workspace_id=workspace),
    )
    return workspace_pb2.WorkspaceStatus.Name(answer.message.workspace.status)
