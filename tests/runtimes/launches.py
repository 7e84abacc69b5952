"""The pair of services inside the rig, and what it answers to a launcher for each case."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf import field_mask_pb2

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_instance_token, derive_proxy_token
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
from deploy.pair import Pair, free_addresses, running_pair
from tests.runtimes.cases import PLATFORM, USAGE_TOKEN, Case
from tests.runtimes.further import edited_catalogue
from tests.runtimes.proxy import admit_the_proxy
from tests.runtimes.values import parts_of, value_of

_SECONDS = 30.0
TENANT: Final = "the tenant"
WORKSPACE: Final = "the workspace"
SCOPES: Final = (TENANT, WORKSPACE)
TICKET: Final = "the bootstrap ticket"
BOX_TOKEN: Final = "the box's token"
OWN_KEY: Final = "the box's own key"


@dataclass(frozen=True, kw_only=True)
class Launched:
    """What a launcher hands on to a box, and every secret that must not stray.

    `steps` are the rules of the decision that fired.
    """

    workspace: str
    provision: str
    steps: frozenset[str]
    environment: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)
    # What is another at every launch, by a name that stands for it.
    passing: Mapping[str, str] = field(repr=False)

    @property
    def likeness(self) -> str:
        """The same text for two launches of which a program is told the same."""
        told = dict(self.environment)
        for name, value in self.passing.items():
            told = {key: text.replace(value, f"<{name}>") for key, text in told.items()}
        return json.dumps(told, sort_keys=True)


class Launcher:
    """Creates a workspace for a case, in a tenant of its own, and launches it."""

    def __init__(self, pair: Pair, provision: grpc.Channel, proxys_credential: str) -> None:
        self.pair = pair
        self.proxys_credential = proxys_credential
        self._gives_own_keys = False
        admin = pair.installation.admin_token.read_text("utf-8").strip()
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
        return self._launched(created.workspace.id, tenant, {**secrets, USAGE_TOKEN: token})

    def launch_with(
        self, case: Case, tempting: Mapping[str, str], scopes: Collection[str] = SCOPES
    ) -> Launched:
        """The same, for a tenant who has set every tempting name at these scopes beforehand.

        Written while the workspace has no catalogue's runtime, because later such a write is
        refused; what is refused even so cannot tempt anybody.
        """
        tenant, token = self.new_tenant()
        secrets = _secrets_of(case, tenant)
        outside = Case(runtime="external", mode=case.mode, model="")
        created = self.call(self.workspaces.CreateWorkspace, self._request(outside, tenant, {}))
        workspace = created.workspace.id
        for name, value in tempting.items():
            if TENANT in scopes:
                self._try(
                    self._secrets.SetGlobalSecret,
                    secret_service_pb2.SetGlobalSecretRequest(
                        tenant_id=tenant, key=name, value=value
                    ),
                )
            if WORKSPACE in scopes:
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
        return self._launched(workspace, tenant, {**secrets, USAGE_TOKEN: token})

    def _launched(
        self, workspace: str, tenant: str, secrets: Mapping[str, str], reason: str = "CREATE"
    ) -> Launched:
        answer = self.provision(workspace, reason)
        environment = dict(answer.env)
        every = {**secrets, **secrets_of_the_box(environment)}
        return Launched(
            workspace=workspace,
            provision=answer.provision.id,
            steps=frozenset(step.rule for step in answer.provision.billing.steps if step.fired),
            environment=environment,
            secrets=guarded(every),
            passing={
                **every,
                "workspace": workspace,
                "tenant": tenant,
                "registry": environment["WORKSPACE_REGISTRY_ADDRESS"],
            },
        )

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

    def give_own_keys(self) -> None:
        """From now on the platform's key in a box is the box's own."""
        if not self._gives_own_keys:
            self.pair.provision.restart(PLATFORM_LLM_TOKENS="box")
            self._gives_own_keys = True

    def relaunch(self, box: Launched) -> Launched:
        """The next launch of a box that had started."""
        tenant = box.passing["tenant"]
        completed = pb.CompleteProvisionRequest(
            provision_id=box.provision, outcome=provision_pb2.PROVISION_OUTCOME_SUCCEEDED
        )
        self.call(self.workspaces.CompleteProvision, completed)
        return self._launched(box.workspace, tenant, {}, "RESTART")

    def provision(self, workspace: str, reason: str = "CREATE") -> Any:
        request = pb.ProvisionWorkspaceRequest(
            workspace_id=workspace,
            reason=provision_pb2.ProvisionReason.Value(f"PROVISION_REASON_{reason}"),
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


def secrets_of_the_box(environment: Mapping[str, str]) -> dict[str, str]:
    """What this launch alone has, and no host of a model but the platform's proxy may ever see."""
    ticket = environment["WORKSPACE_BOOTSTRAP_TICKET"]
    whose = environment["WORKSPACE_ID"], int(environment["WORKSPACE_INCARNATION"])
    return {
        TICKET: ticket,
        BOX_TOKEN: derive_instance_token(Secret(ticket), *whose).reveal(),
        OWN_KEY: derive_proxy_token(Secret(ticket), *whose).reveal(),
    }


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
    edited = home.with_name("catalogue.yaml")
    edited.write_text(edited_catalogue(), "utf-8")
    environment = {
        "PROVISION_CATALOGUE_FILE": str(edited),
        "PLATFORM_LLM_BASE_URL": f"{PLATFORM}/v1",
        "PLATFORM_LLM_ANTHROPIC_BASE_URL": f"{PLATFORM}/anthropic",
        "REGISTRY_LOG_LEVEL": "warning",
        "PROVISION_LOG_LEVEL": "warning",
    }
    installation = Installation(home)
    credential = admit_the_proxy(installation)
    with (
        running_pair(installation, environment, registry=registry, provision=provision) as pair,
        grpc.insecure_channel(provision) as channel,
    ):
        yield Launcher(pair, channel, credential)
