"""The pair, its upstreams, and tenants who bring credentials: where end-to-end tests start."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from agentworkspace.provision.v1 import (
    billing_service_pb2,
    provision_pb2,
    secret_service_pb2,
    workspace_pb2,
)
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.rpc.errors import failure_from
from tests.e2e import vendors
from tests.e2e.boxes import Job
from tests.e2e.upstreams import Upstreams, question_of, running_upstreams
from tests.rpc.provision_server import ADMIN, LAUNCHER
from tests.services import Pair, both


@dataclass(kw_only=True)
class World:
    """Both services with a catalogue whose vendors are all on this machine."""

    pair: Pair
    upstreams: Upstreams
    directory: Path
    # What the image of each runtime has built in.
    programs: Mapping[str, Mapping[str, Any]]
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1000))

    def port(self, upstream: str) -> int:
        return self.upstreams.ports[upstream]

    def set_global(self, tenant: str, secrets: Mapping[str, str]) -> None:
        for key, value in secrets.items():
            self.pair.provision.secrets.SetGlobalSecret(
                secret_service_pb2.SetGlobalSecretRequest(tenant_id=tenant, key=key, value=value),
                metadata=LAUNCHER,
            )

    def give_usage_token(self, tenant: str, token: str) -> None:
        self.pair.provision.billing.SetTenantBilling(
            billing_service_pb2.SetTenantBillingRequest(
                tenant_id=tenant, platform_usage_token=token, create=True
            ),
            metadata=ADMIN,
        )

    def override(self, workspace: str, mode: str | None) -> None:
        self.pair.provision.billing.SetBillingModeOverride(
            billing_service_pb2.SetBillingModeOverrideRequest(workspace_id=workspace, mode=mode),
            metadata=LAUNCHER,
        )

    def create(
        self,
        tenant: str,
        runtime: str,
        model: str,
        secrets: Mapping[str, str] | None = None,
        override: str | None = None,
    ) -> str:
        created = self.pair.provision.workspaces.CreateWorkspace(
            pb.CreateWorkspaceRequest(
                tenant_id=tenant,
                workspace=workspace_pb2.Workspace(
                    name="box", runtime=runtime, model=model, billing_mode_override=override
                ),
                secrets=secrets or {},
            ),
            metadata=LAUNCHER,
        )
        return str(created.workspace.id)

    def launch(self, workspace: str) -> Any:
        """The whole answer; raises grpc.RpcError for a refusal."""
        return self.pair.provision.workspaces.ProvisionWorkspace(
            pb.ProvisionWorkspaceRequest(
                workspace_id=workspace, reason=provision_pb2.PROVISION_REASON_CREATE
            ),
            metadata=LAUNCHER,
        )

    def job(self, runtime: str, environment: Mapping[str, str]) -> Job:
        """A box of this runtime, with a question that nobody else is asked."""
        number = next(self.numbers)
        return Job(
            directory=self.directory / f"box-{number}",
            program=self.programs[runtime],
            environment=environment,
            question=question_of(number),
        )


@contextmanager
def running_world(
    registry_database: str, provision_database: str, directory: Path
) -> Iterator[World]:
    with running_upstreams(vendors.upstream_names()) as upstreams:
        catalogue = directory / "catalogue.yaml"
        vendors.write_loopback_catalogue(upstreams, catalogue)
        environment = {
            "REGISTRY_LOG_LEVEL": "warning",
            "PROVISION_LOG_LEVEL": "warning",
            "PROVISION_CATALOGUE_FILE": str(catalogue),
            "PLATFORM_LLM_BASE_URL": upstreams.url(vendors.PROXY, "/openai/v1"),
            "PLATFORM_LLM_ANTHROPIC_BASE_URL": upstreams.url(vendors.PROXY, "/anthropic"),
        }
        with both(
            registry_database, provision_database, directory, environment=environment
        ) as pair:
            yield World(
                pair=pair,
                upstreams=upstreams,
                directory=directory / "boxes",
                programs=vendors.programs(catalogue, upstreams),
            )


def credential_value(name: str, owner: str) -> str:
    """A value that says whose it is; a subscription is a whole login file."""
    token = f"{name.lower().replace('_', '-')}-of-{owner}"
    if name.endswith("AUTH_JSON"):
        return json.dumps({"tokens": {"access_token": token}})
    return token


def sent(name: str, owner: str) -> str:
    """What an upstream gets to see of it."""
    return f"{name.lower().replace('_', '-')}-of-{owner}"


def reason_of(error: grpc.RpcError) -> str:
    return failure_from(error).reason.removeprefix("ERROR_REASON_")
