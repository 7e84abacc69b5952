"""A provision service comes up, says so, and survives a database that is not there yet."""

from __future__ import annotations

import hashlib
import time
from functools import partial
from pathlib import Path

import grpc
import pytest

from agentworkspace.core.secret import Secret
from agentworkspace.provision.v1 import billing_service_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.provision.v1.error_reason_pb2 import ErrorReason
from agentworkspace.rpc.errors import failure_from
from agentworkspace.service.serving import serve_until_told
from provision_service.config import Settings
from provision_service.server import Provisioning
from provision_service.storage.opening import WrongKey
from provision_service.workers.files import SHIPPED_CATALOGUE
from tests.postgres import migration_of
from tests.rpc.provision_server import (
    LAUNCHER,
    Running,
    environment_of,
    serving,
    write_keys,
)
from tests.rpc.registry_server import SERVING, until_serving


def test_health_says_serving_for_every_service_once_the_store_answered(
    provision_database: str, tmp_path: Path
) -> None:
    with serving(provision_database, tmp_path) as running:
        for name in (
            "",
            "agentworkspace.provision.v1.WorkspaceService",
            "agentworkspace.provision.v1.BillingService",
            "agentworkspace.provision.v1.SecretService",
            "agentworkspace.provision.v1.CatalogueService",
            "agentworkspace.provision.v1.AuditService",
        ):
            assert running.health(name) == SERVING


def test_without_its_tables_it_waits_and_serves_once_they_are_there(
    empty_database: str, tmp_path: Path
) -> None:
    with serving(empty_database, tmp_path, wait=False) as running:
        assert running.health() != SERVING
        with pytest.raises(grpc.RpcError) as refused:
            running.workspaces.ListWorkspaces(pb.ListWorkspacesRequest(), metadata=LAUNCHER)
        failure = failure_from(refused.value)
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.reason == "ERROR_REASON_STORE_UNAVAILABLE"
        assert failure.retry_after is not None

        migration_of("provision")(empty_database)
        until_serving(running)
        running.workspaces.ListWorkspaces(pb.ListWorkspacesRequest(), metadata=LAUNCHER)


def created_by_a_tenant(running: Running) -> pb.CreateWorkspaceResponse:
    """A workspace with the tenant's own credential."""
    answer: pb.CreateWorkspaceResponse = running.workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(
            tenant_id="acme",
            workspace=workspace_pb2.Workspace(name="agent", model="opus"),
            secrets={"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-of-the-tenant"},
        ),
        metadata=LAUNCHER,
    )
    return answer


def test_every_file_that_changes_for_the_worse_is_counted_and_the_last_serves_on(
    provision_database: str, tmp_path: Path
) -> None:
    catalogue = tmp_path / "catalogue.yaml"
    catalogue.write_text(SHIPPED_CATALOGUE.read_text())
    environment = {"PROVISION_CATALOGUE_FILE": str(catalogue)}
    with serving(provision_database, tmp_path, environment=environment) as running:
        created = created_by_a_tenant(running)
        files = environment_of(tmp_path, "r:1", {})
        for name in ("PROVISION_CREDENTIALS_FILE", "PROVISION_SECRETS_KEYS_FILE"):
            Path(files[name]).write_text("{}")
        lines = catalogue.read_text().splitlines()
        catalogue.write_text("\n".join(line for line in lines if line.strip() != "- opus"))
        for name in ("keys", "credentials", "catalogue-or-templates"):
            _until_refused(running, name)
        asked = billing_service_pb2.ResolveBillingModeRequest(workspace_id=created.workspace.id)
        resolution = running.billing.ResolveBillingMode(asked, metadata=LAUNCHER).resolution
        assert resolution.provider_selection == "anthropic-oauth"
        assert resolution.catalogue_version == created.billing.catalogue_version


def test_a_key_that_rows_need_may_leave_the_file_and_nobody_loses_a_secret(
    provision_database: str, tmp_path: Path
) -> None:
    with serving(provision_database, tmp_path) as running:
        created = created_by_a_tenant(running)
        asked = billing_service_pb2.ResolveBillingModeRequest(workspace_id=created.workspace.id)

        def refusal() -> str:
            resolution = running.billing.ResolveBillingMode(asked, metadata=LAUNCHER).resolution
            return ErrorReason.Name(resolution.refusal)

        write_keys(tmp_path, "k2", k2=b"a key that came instead of k1...")
        _until_refused(running, "keys")
        assert refusal() == "ERROR_REASON_UNSPECIFIED"
        # Both at once is how a key is replaced: the rows move over, and the old one may go.
        old = hashlib.sha256(b"k1").digest()
        write_keys(tmp_path, "k2", k1=old, k2=b"a key that came instead of k1...")
        _until_taken_over(running, "keys")
        assert refusal() == "ERROR_REASON_UNSPECIFIED"


def _until_taken_over(running: Running, file: str) -> None:
    end = time.monotonic() + 20
    while running.metric("provision_file_refused", file=file):
        assert time.monotonic() < end, f"{file} was never taken over"
        running.workspaces.ListWorkspaces(pb.ListWorkspacesRequest(), metadata=LAUNCHER)
        time.sleep(0.05)


def _until_refused(running: Running, file: str) -> None:
    end = time.monotonic() + 20
    while not running.metric("provision_file_refused", file=file):
        assert time.monotonic() < end, f"{file} was never counted"
        running.workspaces.ListWorkspaces(pb.ListWorkspacesRequest(), metadata=LAUNCHER)
        time.sleep(0.05)


async def test_a_wrong_encryption_key_ends_the_process_by_its_name(
    provision_database: str, tmp_path: Path
) -> None:
    with serving(provision_database, tmp_path):
        pass
    environment = environment_of(tmp_path, "127.0.0.1:1", {})
    write_keys(tmp_path, "k1", k1=b"another key under the same name!")
    settings = Settings.load(environment)
    make = partial(Provisioning, settings, Secret(provision_database))
    with pytest.raises(WrongKey, match="`k1`"):
        await serve_until_told(make, settings, process=0)
