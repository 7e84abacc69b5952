"""The outages of the original system, replayed over the wire: they can no longer happen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import create_engine

from agentworkspace.provision.v1 import (
    billing_service_pb2,
    provision_pb2,
    secret_service_pb2,
    workspace_pb2,
)
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.registry.v1 import token_pb2, token_service_pb2
from agentworkspace.rpc.errors import failure_from
from tests.rpc.provision_server import ADMIN, ANTHROPIC_PROXY, LAUNCHER, PROXY, USAGE_TOKEN
from tests.rpc.registry_server import ADMIN as REGISTRY_ADMIN
from tests.rpc.vendor_server import Vendor, running_vendor
from tests.services import Pair, both

OAUTH_VALUE = "sk-ant-oat-incident-0123456789"
MINIMAX_VALUE = "minimax-key-of-the-tenant-0123456789"
PLATFORM_VALUE = "minimax-key-of-the-platform-0123456789"


def create(pair: Pair, tenant: str, model: str, **secrets: str) -> Any:
    return pair.provision.workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(
            tenant_id=tenant,
            workspace=workspace_pb2.Workspace(name="agent", runtime="claude-code", model=model),
            secrets=secrets,
        ),
        metadata=LAUNCHER,
    )


def set_global(pair: Pair, tenant: str, key: str, value: str) -> None:
    pair.provision.secrets.SetGlobalSecret(
        secret_service_pb2.SetGlobalSecretRequest(tenant_id=tenant, key=key, value=value),
        metadata=LAUNCHER,
    )


def launch(pair: Pair, workspace_id: str, reason: str = "RESTART") -> Any:
    """Provision and complete at once, so that the next reason claims anew."""
    answer = pair.provision.workspaces.ProvisionWorkspace(
        pb.ProvisionWorkspaceRequest(
            workspace_id=workspace_id,
            reason=provision_pb2.ProvisionReason.Value(f"PROVISION_REASON_{reason}"),
        ),
        metadata=ADMIN if reason == "RESUME" else LAUNCHER,
    )
    pair.provision.workspaces.CompleteProvision(
        pb.CompleteProvisionRequest(
            provision_id=answer.provision.id, outcome=provision_pb2.PROVISION_OUTCOME_SUCCEEDED
        ),
        metadata=LAUNCHER,
    )
    return answer


def resolved(pair: Pair, workspace_id: str) -> Any:
    return pair.provision.billing.ResolveBillingMode(
        billing_service_pb2.ResolveBillingModeRequest(workspace_id=workspace_id), metadata=LAUNCHER
    ).resolution


def reason_of(work: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(grpc.RpcError) as refused:
        work(*args, **kwargs)
    return failure_from(refused.value).reason.removeprefix("ERROR_REASON_")


def let_it_need_a_launch(pair: Pair, registry_database: str, workspace_id: str) -> None:
    """The newest ticket is voided before a box came, at a registry that has been up for long."""
    pair.registry.tokens.RevokeWorkspaceTokens(
        token_service_pb2.RevokeWorkspaceTokensRequest(
            workspace_id=workspace_id,
            kinds=[token_pb2.TOKEN_KIND_TICKET],
            reason=token_pb2.REVOKE_REASON_OPERATOR,
        ),
        metadata=REGISTRY_ADMIN,
    )
    engine = create_engine(registry_database)
    with engine.begin() as tx:
        tx.exec_driver_sql("UPDATE registry.pulse SET up_since = up_since - interval '1 hour'")
    engine.dispose()


def test_incident_2_no_restart_moves_the_bill_to_the_platform(
    pair: Pair, registry_database_of_module: str
) -> None:
    created = create(pair, "two", "opus", CLAUDE_CODE_OAUTH_TOKEN=OAUTH_VALUE)
    for reason in ("CREATE", "RESTART", "AUTO_RESTART", "RESUME", "RECREATE"):
        if reason == "AUTO_RESTART":
            let_it_need_a_launch(pair, registry_database_of_module, created.workspace.id)
        answer = launch(pair, created.workspace.id, reason)
        billing, env = answer.provision.billing, dict(answer.env)
        assert (billing.resolved_mode, billing.source) == ("byok", "derived_provider")
        assert billing.provider_selection == "anthropic-oauth"
        assert env["CLAUDE_CODE_OAUTH_TOKEN"] == OAUTH_VALUE
        assert env["MODEL"] == "opus"
        assert env["MOLECULE_LLM_BILLING_MODE_RESOLVED"] == "byok"
        handed_out = " ".join(env.values())
        assert USAGE_TOKEN not in handed_out
        assert PROXY not in handed_out
        assert ANTHROPIC_PROXY not in handed_out
        # Step by step the same: read and provision are one decision.
        assert resolved(pair, created.workspace.id) == billing


def test_incident_2_the_same_token_at_global_scope_survives(pair: Pair) -> None:
    set_global(pair, "two-global", "CLAUDE_CODE_OAUTH_TOKEN", OAUTH_VALUE)
    created = create(pair, "two-global", "opus")
    answer = launch(pair, created.workspace.id)
    assert answer.provision.billing.resolved_mode == "byok"
    assert answer.env["CLAUDE_CODE_OAUTH_TOKEN"] == OAUTH_VALUE


def test_incident_2_a_stray_token_of_another_vendor_goes(pair: Pair) -> None:
    set_global(pair, "two-stray", "MINIMAX_API_KEY", MINIMAX_VALUE)
    set_global(pair, "two-stray", "CLAUDE_CODE_OAUTH_TOKEN", OAUTH_VALUE)
    created = create(pair, "two-stray", "MiniMax-M2.7")
    answer = launch(pair, created.workspace.id)
    assert answer.provision.billing.provider_selection == "minimax"
    assert answer.env["MINIMAX_API_KEY"] == MINIMAX_VALUE
    assert "CLAUDE_CODE_OAUTH_TOKEN" not in answer.env


def test_incident_2_a_key_that_was_deleted_meanwhile_refuses_the_launch(pair: Pair) -> None:
    assert reason_of(create, pair, "two-deleted", "opus") == "MISSING_BYOK_CREDENTIAL"
    created = create(pair, "two-deleted", "opus", CLAUDE_CODE_OAUTH_TOKEN=OAUTH_VALUE)
    pair.provision.secrets.DeleteWorkspaceSecret(
        secret_service_pb2.DeleteWorkspaceSecretRequest(
            workspace_id=created.workspace.id, key="CLAUDE_CODE_OAUTH_TOKEN"
        ),
        metadata=LAUNCHER,
    )
    assert reason_of(launch, pair, created.workspace.id) == "MISSING_BYOK_CREDENTIAL"
    stored = pair.provision.workspaces.GetWorkspace(
        pb.GetWorkspaceRequest(workspace_id=created.workspace.id), metadata=LAUNCHER
    ).workspace
    assert stored.last_error.code == "ERROR_REASON_MISSING_BYOK_CREDENTIAL"
    assert stored.incarnation == 0


def test_incident_2_a_platform_model_goes_through_the_proxy_and_nowhere_else(pair: Pair) -> None:
    set_global(pair, "two-platform", "OPENAI_API_KEY", "sk-openai-of-the-tenant-0123456789")
    created = create(pair, "two-platform", "anthropic/claude-opus-4-7")
    answer = launch(pair, created.workspace.id)
    assert answer.provision.billing.resolved_mode == "platform_managed"
    assert answer.env["ANTHROPIC_BASE_URL"] == ANTHROPIC_PROXY
    assert answer.env["ANTHROPIC_API_KEY"] == USAGE_TOKEN
    assert "OPENAI_API_KEY" not in answer.env


def test_incident_3_a_key_of_the_platform_is_found_and_refused_everywhere(pair: Pair) -> None:
    for tenant in ("three-a", "three-b", "three-c"):
        set_global(pair, tenant, "MINIMAX_API_KEY", PLATFORM_VALUE)
    created = create(pair, "three-a", "MiniMax-M2.7")
    registered = pair.provision.secrets.RegisterPlatformCredential(
        secret_service_pb2.RegisterPlatformCredentialRequest(
            name="minimax-prod", value=PLATFORM_VALUE
        ),
        metadata=ADMIN,
    )
    assert {each.tenant_id for each in registered.matches} == {"three-a", "three-b", "three-c"}
    assert reason_of(launch, pair, created.workspace.id) == "PLATFORM_CREDENTIAL_COMINGLED"
    comingled = "PLATFORM_CREDENTIAL_COMINGLED"
    assert reason_of(set_global, pair, "three-d", "MINIMAX_API_KEY", PLATFORM_VALUE) == comingled

    audit = pair.provision.secrets.AuditSharedSecrets(
        secret_service_pb2.AuditSharedSecretsRequest(), metadata=ADMIN
    )
    groups = [group for group in audit.groups if "minimax-prod" in group.platform_credential_names]
    assert len(groups) == 1
    assert {each.tenant_id for each in groups[0].holders} == {"three-a", "three-b", "three-c"}
    assert PLATFORM_VALUE not in str(audit)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with running_vendor() as running:
        yield running


def _templates(directory: Path, vendor: Vendor) -> Path:
    path = directory / "templates.yaml"
    path.write_text(
        f"""\
schema: 1
version: "1"
templates:
  - name: engineer
    required_env: [GITEA_TOKEN]
    probes:
      - {{env: GITEA_TOKEN, url: "{vendor.url("/pulls")}", scope: "read:repository"}}
      - {{env: GITEA_TOKEN, url: "{vendor.url("/issues")}", scope: "read:issue"}}
      - {{env: ANTHROPIC_API_KEY, url: "{vendor.url("/models")}", header: x-api-key}}
"""
    )
    return path


@pytest.mark.parametrize("policy", ["warn", "enforce"])
def test_incident_5_a_missing_scope_is_named_before_an_agent_fails_over_it(
    registry_database: str, provision_database: str, tmp_path: Path, vendor: Vendor, policy: str
) -> None:
    vendor.answers.update({"/pulls": 200, "/issues": 403, "/models": 200})
    environment = {
        "PROVISION_TEMPLATES_FILE": str(_templates(tmp_path, vendor)),
        "PROVISION_PROBES": policy,
        "PROVISION_PROBES_ALLOW_LOOPBACK_HTTP": "1",
    }
    secrets = {
        "GITEA_TOKEN": "gitea-token-0123456789abcdef",
        "ANTHROPIC_API_KEY": "sk-ant-api-0123456789abcdef",
    }
    request = pb.CreateWorkspaceRequest(
        tenant_id="five",
        workspace=workspace_pb2.Workspace(
            name="agent", template="engineer", model="claude-opus-4-7"
        ),
        secrets=secrets,
    )
    with both(registry_database, provision_database, tmp_path, environment=environment) as pair:
        created = pair.provision.workspaces.CreateWorkspace(request, metadata=LAUNCHER)
        (warning,) = [each for each in created.warnings if each.code == "MISSING_SCOPE"]
        assert "read:issue" in warning.message
        assert launch(pair, created.workspace.id).warnings

        checked = pair.provision.secrets.CheckCredentials(
            secret_service_pb2.CheckCredentialsRequest(workspace_id=created.workspace.id),
            metadata=LAUNCHER,
        )
        verdicts = {(each.env, each.http_status) for each in checked.results}
        assert {("GITEA_TOKEN", 200), ("GITEA_TOKEN", 403)} <= verdicts
        assert checked.matrix
        assert not [value for value in secrets.values() if value in str(checked)]

        vendor.answers["/models"] = 401
        if policy == "enforce":
            refused = reason_of(launch, pair, created.workspace.id)
            assert refused == "INVALID_BYOK_CREDENTIAL"
        else:
            codes = {each.code for each in launch(pair, created.workspace.id).warnings}
            assert "INVALID_BYOK_CREDENTIAL" in codes
