"""Launch recipes and the vendor of a credential, over the wire."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from agentworkspace.provision.v1 import (
    billing_service_pb2,
    launch_pb2,
    provision_pb2,
    secret_service_pb2,
    workspace_pb2,
)
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.rpc.errors import failure_from
from provision_service.__main__ import main
from tests.rpc.provision_server import LAUNCHER, environment_of
from tests.services import Pair

SHARED = {"ANTHROPIC_API_KEY": "a-key-of-minimax"}
SAID = {"ANTHROPIC_API_KEY": "minimax"}


def create(pair: Pair, secrets: dict[str, str], said: dict[str, str], **spec: Any) -> str:
    answer = pair.provision.workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(
            tenant_id="acme",
            workspace=workspace_pb2.Workspace(name="agent", **spec),
            secrets=secrets,
            secret_providers=said,
        ),
        metadata=LAUNCHER,
    )
    return str(answer.workspace.id)


def launch(pair: Pair, workspace_id: str) -> Any:
    return pair.provision.workspaces.ProvisionWorkspace(
        pb.ProvisionWorkspaceRequest(
            workspace_id=workspace_id, reason=provision_pb2.PROVISION_REASON_CREATE
        ),
        metadata=LAUNCHER,
    )


def reason_of(error: grpc.RpcError) -> str:
    return failure_from(error).reason.removeprefix("ERROR_REASON_")


def test_a_launch_answers_its_recipe_and_carries_it_in_the_map(pair: Pair) -> None:
    own = {"CODEX_AUTH_JSON": '{"tokens": "do-not-show"}'}
    workspace = create(pair, own, {}, runtime="codex", model="gpt-5.5")
    answer = launch(pair, workspace)
    assert [(made.env, made.path) for made in answer.launch.directories] == [
        ("CODEX_HOME", "codex")
    ]
    config, auth = answer.launch.files
    assert (config.path, config.mode, config.secret) == ("codex/config.toml", "0600", False)
    assert 'model = "gpt-5.5"' in config.content
    assert auth == launch_pb2.LaunchFile(
        path="codex/auth.json", mode="0600", content="${CODEX_AUTH_JSON}", secret=True
    )
    carried = json.loads(answer.env["WORKSPACE_LAUNCH"])
    assert [file["content"] for file in carried["files"]] == [config.content, auth.content]
    assert "do-not-show" not in answer.env["WORKSPACE_LAUNCH"] + str(answer.launch)
    manifest = {entry.name: entry.origin for entry in answer.provision.manifest}
    assert manifest["WORKSPACE_LAUNCH"] == "recipe"
    read = pair.provision.billing.ResolveBillingMode(
        billing_service_pb2.ResolveBillingModeRequest(workspace_id=workspace), metadata=LAUNCHER
    )
    assert read.launch == answer.launch


def test_a_preview_shows_what_a_box_would_get(pair: Pair) -> None:
    preview = pair.provision.billing.PreviewBillingMode(
        billing_service_pb2.PreviewBillingModeRequest(
            runtime="claude-code",
            model="anthropic:opus",
            auth_env_names=["CLAUDE_CODE_OAUTH_TOKEN"],
        ),
        metadata=LAUNCHER,
    )
    assert preview.launch.model == "opus"
    assert "ANTHROPIC_MODEL" in preview.launch.env_names
    refused = pair.provision.billing.PreviewBillingMode(
        billing_service_pb2.PreviewBillingModeRequest(runtime="claude-code", model="opus"),
        metadata=LAUNCHER,
    )
    assert not refused.HasField("launch")


def test_whose_a_credential_is_is_said_shown_and_asked_for(pair: Pair) -> None:
    with pytest.raises(grpc.RpcError) as unsaid:
        create(pair, SHARED, {}, model="MiniMax-M2.7")
    assert reason_of(unsaid.value) == "MISSING_BYOK_CREDENTIAL"
    workspace = create(pair, SHARED, SAID, model="MiniMax-M2.7")
    assert launch(pair, workspace).env["ANTHROPIC_AUTH_TOKEN"] == "a-key-of-minimax"
    seen = pair.provision.secrets.ListSecrets(
        secret_service_pb2.ListSecretsRequest(workspace_id=workspace), metadata=LAUNCHER
    )
    assert [(each.key, each.provider) for each in seen.secrets] == [
        ("ANTHROPIC_API_KEY", "minimax")
    ]


def test_a_vendor_is_said_of_a_secret_that_is_given(pair: Pair) -> None:
    with pytest.raises(grpc.RpcError) as stray:
        create(pair, {}, SAID, model="MiniMax-M2.7")
    failure = failure_from(stray.value)
    assert [each.field for each in failure.violations] == ["secret_providers[ANTHROPIC_API_KEY]"]


def test_migrate_lists_the_workspaces_that_would_be_refused(
    pair: Pair,
    provision_database_of_module: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspace = create(pair, SHARED, SAID, model="MiniMax-M2.7")
    pair.provision.secrets.AssignSecretProvider(
        secret_service_pb2.AssignSecretProviderRequest(
            workspace_id=workspace, key="ANTHROPIC_API_KEY"
        ),
        metadata=LAUNCHER,
    )
    settings = environment_of(tmp_path_factory.mktemp("migrate"), "127.0.0.1:1", {})
    for name, text in {**settings, "PROVISION_DATABASE_URL": provision_database_of_module}.items():
        monkeypatch.setenv(name, text)
    assert main(["migrate"]) == 0
    mend = f"assign-provider ANTHROPIC_API_KEY minimax --workspace {workspace}"
    (line,) = (line for line in capsys.readouterr().out.splitlines() if workspace in line)
    assert line.endswith(mend)
    monkeypatch.delenv("PROVISION_SECRETS_KEYS_FILE")
    assert main(["migrate"]) == 0
    assert "with PROVISION_SECRETS_KEYS_FILE set" in capsys.readouterr().out
