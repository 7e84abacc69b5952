"""The pair of services inside the rig, and what it answers to a launcher for each case."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import field_mask_pb2

from agentworkspace.provision.v1 import (
    billing_service_pb2,
    billing_service_pb2_grpc,
    provision_pb2,
    secret_service_pb2,
    secret_service_pb2_grpc,
    workspace_pb2,
    workspace_service_pb2_grpc,
)
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from deploy.installation import Installation
from deploy.pair import free_addresses, running_pair
from tests.runtimes.cases import PLATFORM, USAGE_TOKEN, Case
from tests.runtimes.values import parts_of, value_of

_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Launched:
    """What a launcher hands on to a box, and every secret that must not stray."""

    workspace: str
    environment: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)


class Launcher:
    """Creates a workspace for a case, in a tenant of its own, and launches it."""

    def __init__(self, provision: grpc.Channel, admin: str) -> None:
        self.workspaces = workspace_service_pb2_grpc.WorkspaceServiceStub(provision)
        self._secrets = secret_service_pb2_grpc.SecretServiceStub(provision)
        self._billing = billing_service_pb2_grpc.BillingServiceStub(provision)
        self._metadata = (("authorization", f"Bearer {admin}"),)

    def call(self, method: Any, request: object) -> Any:
        return method(request, metadata=self._metadata, timeout=_SECONDS, wait_for_ready=True)

    def new_tenant(self) -> tuple[str, str]:
        """A tenant, and its usage token."""
        tenant = f"tenant-{uuid.uuid4()}"
        token = value_of(USAGE_TOKEN, tenant)
        request = billing_service_pb2.SetTenantBillingRequest(
            tenant_id=tenant, platform_usage_token=token, create=True
        )
        self.call(self._billing.SetTenantBilling, request)
        return tenant, token

    def launch(self, case: Case) -> Launched:
        """CreateWorkspace and ProvisionWorkspace. A refusal is grpc.RpcError."""
        tenant, token = self.new_tenant()
        secrets = _secrets_of(case, tenant)
        brought = {**secrets, **case.endpoints}
        created = self.call(self.workspaces.CreateWorkspace, self._request(case, tenant, brought))
        return self._launched(created.workspace.id, {**secrets, USAGE_TOKEN: token})

    def launch_with(self, case: Case, tempting: Mapping[str, str]) -> Launched:
        """The same, for a tenant who has set every tempting name at both scopes beforehand.

        Written while the workspace has no catalogue's runtime, because later such a write is
        refused; what is refused even so cannot tempt anybody.
        """
        tenant, token = self.new_tenant()
        secrets = _secrets_of(case, tenant)
        outside = Case(runtime="external", mode=case.mode, model="")
        created = self.call(self.workspaces.CreateWorkspace, self._request(outside, tenant, {}))
        workspace = created.workspace.id
        for name, value in tempting.items():
            self._try(
                self._secrets.SetGlobalSecret,
                secret_service_pb2.SetGlobalSecretRequest(tenant_id=tenant, key=name, value=value),
            )
            self._try(
                self._secrets.SetWorkspaceSecret,
                secret_service_pb2.SetWorkspaceSecretRequest(
                    workspace_id=workspace, key=name, value=secrets.get(name, value)
                ),
            )
        for name, value in {**secrets, **case.endpoints}.items():
            whose = case.vendors.get(name, "")
            request = secret_service_pb2.SetWorkspaceSecretRequest(
                workspace_id=workspace, key=name, value=value, provider=whose
            )
            self.call(self._secrets.SetWorkspaceSecret, request)
        self.call(self.workspaces.UpdateWorkspace, self._become(case, workspace))
        return self._launched(workspace, {**secrets, USAGE_TOKEN: token})

    def _launched(self, workspace: str, secrets: Mapping[str, str]) -> Launched:
        environment = dict(self.provision(workspace).env)
        return Launched(workspace=workspace, environment=environment, secrets=guarded(secrets))

    def _become(self, case: Case, workspace: str) -> Any:
        if case.override is not None:
            self.call(
                self._billing.SetBillingModeOverride,
                billing_service_pb2.SetBillingModeOverrideRequest(
                    workspace_id=workspace, mode=case.override
                ),
            )
        return pb.UpdateWorkspaceRequest(
            workspace_id=workspace,
            workspace=workspace_pb2.Workspace(runtime=case.runtime, model=case.model),
            update_mask=field_mask_pb2.FieldMask(paths=["runtime", "model"]),
        )

    def _try(self, method: Any, request: object) -> None:
        with suppress(grpc.RpcError):
            self.call(method, request)

    def provision(self, workspace: str) -> Any:
        request = pb.ProvisionWorkspaceRequest(
            workspace_id=workspace, reason=provision_pb2.PROVISION_REASON_CREATE
        )
        return self.call(self.workspaces.ProvisionWorkspace, request)

    def _request(self, case: Case, tenant: str, secrets: Mapping[str, str]) -> Any:
        return pb.CreateWorkspaceRequest(
            tenant_id=tenant,
            workspace=workspace_pb2.Workspace(
                name="box",
                runtime=case.runtime,
                model=case.model,
                billing_mode_override=case.override,
            ),
            secrets=secrets,
            secret_providers=case.vendors if secrets else {},
        )


def _secrets_of(case: Case, tenant: str) -> dict[str, str]:
    return {name: value_of(name, tenant, case.vendors.get(name, "")) for name in case.secrets}


def guarded(secrets: Mapping[str, str]) -> dict[str, str]:
    """Every part of every secret, by a name that a failure can show."""
    return {
        part: text
        for name, value in secrets.items()
        for part, text in parts_of(name, value).items()
    }


@contextmanager
def running_launcher(home: Path) -> Iterator[Launcher]:
    """Both services on an embedded PostgreSQL, with a metered proxy that the rig plays."""
    registry, provision = free_addresses(2)
    environment = {
        "PLATFORM_LLM_BASE_URL": f"{PLATFORM}/v1",
        "PLATFORM_LLM_ANTHROPIC_BASE_URL": f"{PLATFORM}/anthropic",
        "REGISTRY_LOG_LEVEL": "warning",
        "PROVISION_LOG_LEVEL": "warning",
    }
    installation = Installation(home)
    with (
        running_pair(installation, environment, registry=registry, provision=provision),
        grpc.insecure_channel(provision) as channel,
    ):
        yield Launcher(channel, installation.admin_token.read_text().strip())
