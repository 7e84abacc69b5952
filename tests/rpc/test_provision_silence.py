"""A whole run at debug level, good and bad calls alike, and no secret in any line of its logs."""

from __future__ import annotations

import hashlib
import io
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog

from agentworkspace.provision.v1 import (
    billing_service_pb2,
    provision_pb2,
    secret_service_pb2,
    workspace_pb2,
)
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.registry.v1 import registration_service_pb2 as boxes_pb
from agentworkspace.server import logs
from tests.rpc.provision_server import ADMIN, LAUNCHER, USAGE_TOKEN
from tests.rpc.registry_server import CALLERS, bearer, secret_of
from tests.rpc.vendor_server import Vendor, running_vendor
from tests.services import Pair, both

VALUES = {
    "CLAUDE_CODE_OAUTH_TOKEN": "plainlooking oauth value 7f3a91",
    "GITEA_TOKEN": "plainlooking-gitea-value-5c2e77",
}
TENANT_TOKEN = "plainlooking-tenant-usage-token-90ab"
PLATFORM_VALUE = "plainlooking-platform-value-11dd"
GLOBAL_VALUE = "plainlooking-global-value-33ee"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    logs.configure(as_json=True, level="debug", stream=stream)
    # Quiet unless told: at this level it prints every statement and every row it reads.
    statements = logging.getLogger("sqlalchemy.engine")
    statements.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        statements.setLevel(logging.NOTSET)
        structlog.reset_defaults()
        logging.getLogger().handlers = handlers
        logging.getLogger().setLevel(level)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with running_vendor() as running:
        yield running


def refused(work: Any, request: Any, metadata: Any) -> None:
    with pytest.raises(grpc.RpcError):
        work(request, metadata=metadata)


def the_story(pair: Pair) -> set[str]:
    """Everything that carries a secret somewhere, and what must not show up again."""
    provision, boxes = pair.provision, pair.registry.boxes
    created = provision.workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(
            tenant_id="acme",
            workspace=workspace_pb2.Workspace(name="agent", model="opus", template="engineer"),
            secrets=VALUES,
        ),
        metadata=LAUNCHER,
    )
    workspace_id = created.workspace.id
    provision.secrets.SetGlobalSecret(
        secret_service_pb2.SetGlobalSecretRequest(
            tenant_id="acme", key="EXTRA", value=GLOBAL_VALUE
        ),
        metadata=LAUNCHER,
    )
    provision.billing.SetTenantBilling(
        billing_service_pb2.SetTenantBillingRequest(
            tenant_id="acme", platform_usage_token=TENANT_TOKEN
        ),
        metadata=ADMIN,
    )
    provision.secrets.RegisterPlatformCredential(
        secret_service_pb2.RegisterPlatformCredentialRequest(name="prod", value=PLATFORM_VALUE),
        metadata=ADMIN,
    )
    for key, value in (("MINIMAX_API_KEY", PLATFORM_VALUE), ("ADMIN_TOKEN", GLOBAL_VALUE)):
        request = secret_service_pb2.SetWorkspaceSecretRequest(
            workspace_id=workspace_id, key=key, value=value
        )
        refused(provision.secrets.SetWorkspaceSecret, request, LAUNCHER)
    launch = provision.workspaces.ProvisionWorkspace(
        pb.ProvisionWorkspaceRequest(
            workspace_id=workspace_id, reason=provision_pb2.PROVISION_REASON_CREATE
        ),
        metadata=LAUNCHER,
    )
    ticket = launch.env["WORKSPACE_BOOTSTRAP_TICKET"]
    registered = boxes.Register(
        boxes_pb.RegisterRequest(
            workspace_id=workspace_id, bootstrap_ticket=ticket, request_id=str(uuid.uuid4())
        )
    )
    question = secret_service_pb2.GetSecretValuesRequest(workspace_id=workspace_id)
    provision.secrets.GetSecretValues(question, metadata=bearer(registered.auth_token))
    refused(provision.secrets.GetSecretValues, question, bearer(created.auth_token))
    refused(provision.secrets.GetSecretValues, question, bearer(ticket))
    provision.secrets.CheckCredentials(
        secret_service_pb2.CheckCredentialsRequest(workspace_id=workspace_id), metadata=LAUNCHER
    )
    return {created.auth_token, registered.auth_token, ticket}


def test_no_secret_of_a_whole_run_is_in_its_logs(
    log: io.StringIO,
    registry_database: str,
    provision_database: str,
    tmp_path: Path,
    vendor: Vendor,
) -> None:
    templates = tmp_path / "templates.yaml"
    templates.write_text(
        'schema: 1\nversion: "1"\ntemplates:\n  - name: engineer\n    probes:\n'
        f'      - {{env: GITEA_TOKEN, url: "{vendor.url("/")}"}}\n'
    )
    environment = {
        "PROVISION_TEMPLATES_FILE": str(templates),
        "PROVISION_PROBES_ALLOW_LOOPBACK_HTTP": "1",
    }
    with both(registry_database, provision_database, tmp_path, environment=environment) as pair:
        issued = the_story(pair)
    assert vendor.headers_of("/")["authorization"] == f"Bearer {VALUES['GITEA_TOKEN']}"

    written = log.getvalue()
    secrets = {
        *issued,
        *VALUES.values(),
        *(secret_of(caller) for caller in CALLERS),
        USAGE_TOKEN,
        TENANT_TOKEN,
        PLATFORM_VALUE,
        GLOBAL_VALUE,
        hashlib.sha256(b"k1").hexdigest(),
    }
    assert "CreateWorkspace" in written
    assert "sqlalchemy" in written
    assert [secret for secret in secrets if secret in written] == []
