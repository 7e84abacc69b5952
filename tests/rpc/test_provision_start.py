"""A provision service comes up, says so, and survives a database that is not there yet."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.rpc.errors import failure_from
from provision_service import config
from provision_service.domain.secret import Secret
from provision_service.server import serve
from provision_service.storage.migrate import upgrade
from provision_service.storage.opening import WrongKey
from tests.rpc.provision_server import (
    LAUNCHER,
    SERVING,
    environment_of,
    serving,
    until_serving,
    write_keys,
)


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

        upgrade(empty_database)
        until_serving(running)
        running.workspaces.ListWorkspaces(pb.ListWorkspacesRequest(), metadata=LAUNCHER)


async def test_a_wrong_encryption_key_ends_the_process_by_its_name(
    provision_database: str, tmp_path: Path
) -> None:
    with serving(provision_database, tmp_path):
        pass
    environment = environment_of(tmp_path, "127.0.0.1:1", {})
    write_keys(tmp_path, "k1", k1=b"another key under the same name!")
    with pytest.raises(WrongKey, match="`k1`"):
        await serve(config.load(environment), Secret(provision_database))
