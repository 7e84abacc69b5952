"""Whose credential a secret is: said, stored, shown, and what a launch makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentworkspace.core.refusal import SharedReason
from agentworkspace.core.secret import Secret
from provision_service.commands import (
    assign_secret_provider,
    find_unassigned,
    list_secrets,
    update_workspace,
)
from provision_service.commands.assign_secret_provider import (
    AssignSecretProvider,
    AssignSecretProviderResult,
)
from provision_service.commands.list_secrets import ListSecrets
from provision_service.commands.update_workspace import UpdateWorkspace
from provision_service.domain.records import Workspace
from provision_service.domain.refusals import Reason
from provision_service.domain.step import Notice
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import (
    ACME,
    LAUNCHER,
    OPUS,
    PLATFORM_MODEL,
    PROXY,
    World,
    refused,
)

MINIMAX = replace(OPUS, model="MiniMax-M2.7")
SHARED = {"ANTHROPIC_API_KEY": "a-key-of-minimax"}


def said(world: World, workspace: Workspace) -> dict[str, str]:
    command = ListSecrets(call=LAUNCHER, tenant_id=ACME, workspace_id=workspace.id)
    return {each.key: each.provider for each in list_secrets.run(world.store, command).rows}


def assign(
    world: World, workspace: Workspace, provider: str, key: str = "ANTHROPIC_API_KEY"
) -> AssignSecretProviderResult:
    command = AssignSecretProvider(
        call=LAUNCHER, workspace_id=workspace.id, key=key, provider=provider
    )
    return assign_secret_provider.run(world.store, command, world.deployment)


def change_model(world: World, workspace: Workspace, model: str) -> list[Notice]:
    command = UpdateWorkspace(
        call=LAUNCHER,
        workspace_id=workspace.id,
        spec=replace(workspace.spec, model=model),
        mask=frozenset({"model"}),
        request_id=new_id(),
    )
    return list(update_workspace.run(world.store, command, world.deployment).warnings)


def test_a_shared_name_is_the_vendors_that_was_named_at_create(world: World) -> None:
    with refused(Reason.MISSING_BYOK_CREDENTIAL):
        world.create(MINIMAX, secrets=SHARED)
    workspace = world.create(MINIMAX, secrets=SHARED, said={"ANTHROPIC_API_KEY": "minimax"})
    assert said(world, workspace) == {"ANTHROPIC_API_KEY": "minimax"}
    env = world.environment(workspace)
    assert env["ANTHROPIC_AUTH_TOKEN"] == "a-key-of-minimax"
    assert env["ANTHROPIC_BASE_URL"] == "https://api.minimax.io/anthropic"


def test_what_is_said_later_mends_a_workspace(world: World) -> None:
    workspace = world.create(
        replace(OPUS, model="claude-opus-4-8"), secrets={"ANTHROPIC_API_KEY": "shared"}
    )
    warnings = change_model(world, workspace, "MiniMax-M2.7")
    # Nobody pays for a launch that is refused: no word of a payer.
    assert [notice.code for notice in warnings] == ["MISSING_BYOK_CREDENTIAL"]
    with refused(Reason.MISSING_BYOK_CREDENTIAL):
        world.launch(workspace)
    mended = assign(world, workspace, "minimax")
    assert mended.secret.provider == "minimax"
    assert said(world, workspace) == {"ANTHROPIC_API_KEY": "minimax"}
    assert world.environment(workspace)["ANTHROPIC_AUTH_TOKEN"] == "shared"
    taken_back = assign(world, workspace, "")
    assert [notice.code for notice in taken_back.warnings] == ["MISSING_BYOK_CREDENTIAL"]


def test_a_new_value_is_nobodys_until_it_is_said_again(world: World) -> None:
    workspace = world.create(MINIMAX, secrets=SHARED, said={"ANTHROPIC_API_KEY": "minimax"})
    written = world.set_own(workspace, "ANTHROPIC_API_KEY", "another")
    assert [notice.code for notice in written.warnings] == ["SECRET_PROVIDER_CLEARED"]
    assert said(world, workspace) == {"ANTHROPIC_API_KEY": ""}
    written = world.set_own(workspace, "ANTHROPIC_API_KEY", "another", provider="minimax")
    assert written.secret is not None
    assert (written.secret.provider, written.warnings) == ("minimax", ())


@pytest.mark.parametrize("name", ["nobody", "platform", "MiniMax"])
def test_only_a_provider_or_a_vendor_of_the_catalogue_owns_a_credential(
    world: World, name: str
) -> None:
    workspace = world.create()
    with refused(SharedReason.INVALID_REQUEST):
        world.set_own(workspace, "ANTHROPIC_API_KEY", "k", provider=name)
    with refused(SharedReason.INVALID_REQUEST):
        assign(world, workspace, name, "CLAUDE_CODE_OAUTH_TOKEN")
    with refused(SharedReason.INVALID_REQUEST):
        world.create(secrets=SHARED, said={"ANTHROPIC_API_KEY": name})


def test_nothing_is_said_of_a_secret_that_is_not_the_workspaces_own(world: World) -> None:
    workspace = world.create()
    world.set_global("ANTHROPIC_API_KEY", "tenant-wide")
    with refused(SharedReason.INVALID_REQUEST):
        assign(world, workspace, "minimax")


def test_a_rival_is_said_when_it_is_written(world: World) -> None:
    workspace = world.create()
    written = world.set_own(workspace, "ANTHROPIC_API_KEY", "rival")
    (notice,) = written.warnings
    assert notice.code == "RIVAL_CREDENTIAL_REMOVED"
    assert (notice.metadata["name"], notice.metadata["other"]) == (
        "ANTHROPIC_API_KEY",
        "CLAUDE_CODE_OAUTH_TOKEN",
    )
    assert "ANTHROPIC_API_KEY" not in world.environment(workspace)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("CLAUDE_CODE_USE_BEDROCK", "1"),
        ("ANTHROPIC_VERTEX_BASE_URL", "https://stranger.test"),
        ("CLAUDE_CONFIG_DIR", "/tenant"),
        ("NODE_TLS_REJECT_UNAUTHORIZED", "0"),
        ("ANTHROPIC_MODEL", "sonnet"),
        ("ANTHROPIC_CUSTOM_HEADERS", "Authorization: Bearer x"),
    ],
)
@pytest.mark.parametrize("model", ["opus", PLATFORM_MODEL])
def test_a_route_name_that_would_not_be_handed_on_is_not_stored(
    world: World, key: str, value: str, model: str
) -> None:
    world.deploy(platform=replace(PROXY, usage_token=Secret("usage-token-of-deployment")))
    workspace = world.create(replace(OPUS, model=model))
    before = world.count("secrets")
    with refused(Reason.BYPASS_KEY_REFUSED) as refusal:
        world.set_own(workspace, key, value)
    assert refusal.value.message.startswith(key)
    assert refusal.value.message.endswith("and would not reach the box; leave it out")
    assert world.count("secrets") == before


def test_a_route_name_that_would_be_handed_on_is_stored(world: World) -> None:
    workspace = world.create()
    world.set_own(workspace, "ANTHROPIC_MODEL", "opus")
    world.set_own(workspace, "ANTHROPIC_CUSTOM_HEADERS", "X-Team: blue")
    world.set_own(workspace, "HTTPS_PROXY", "http://proxy.tenant.test")
    env = world.environment(workspace)
    assert env["ANTHROPIC_CUSTOM_HEADERS"] == "X-Team: blue"
    assert env["HTTPS_PROXY"] == "http://proxy.tenant.test"


@pytest.mark.parametrize("key", ["HTTPS_PROXY", "https_proxy", "CODEX_API_KEY"])
def test_what_only_the_platforms_key_must_not_meet_is_refused_where_it_pays(
    world: World, key: str
) -> None:
    world.deploy(platform=replace(PROXY, usage_token=Secret("usage-token-of-deployment")))
    workspace = world.create(replace(OPUS, model=PLATFORM_MODEL))
    with refused(Reason.BYPASS_KEY_REFUSED):
        world.set_own(workspace, key, "http://proxy.tenant.test")


@pytest.mark.parametrize(
    "key", ["CLAUDE_CODE_USE_VERTEX", "CODEX_HOME", "HERMES_HOME", "NODE_TLS_REJECT_UNAUTHORIZED"]
)
def test_what_no_box_would_be_handed_is_not_stored_tenant_wide(world: World, key: str) -> None:
    with refused(Reason.BYPASS_KEY_REFUSED):
        world.set_global(key, "1")


def test_a_typo_of_a_model_warns_of_the_refusal_and_of_no_payer(world: World) -> None:
    world.deploy(platform=replace(PROXY, usage_token=Secret("usage-token-of-deployment")))
    workspace = world.create()
    warnings = world.set_own(workspace, "MODEL", "opuss").warnings
    assert [notice.code for notice in warnings] == ["MODEL_UNREGISTERED"]


def test_workspaces_that_the_rule_would_refuse_are_found_and_mended(world: World) -> None:
    named = {"ANTHROPIC_API_KEY": "minimax"}
    refused_one = world.create(MINIMAX, secrets=SHARED, said=named)
    world.create(MINIMAX, secrets=SHARED, said=named)
    world.create(replace(OPUS, model="claude-opus-4-8"), secrets=SHARED)
    world.create(MINIMAX, secrets={"MINIMAX_API_KEY": "own", **SHARED})
    paired = {**SHARED, "ANTHROPIC_BASE_URL": "https://api.minimax.io/anthropic"}
    world.create(MINIMAX, secrets=paired)
    gone = world.create(MINIMAX, secrets=SHARED, said=named)
    forget = "UPDATE provision.secrets SET provider = NULL WHERE workspace_id = :id"
    for workspace in (refused_one, gone):
        world.sql(forget, id=workspace.id)
    world.sql(
        "UPDATE provision.workspaces SET remove_time = now() WHERE workspace_id = :id", id=gone.id
    )
    (found,) = find_unassigned.run(world.store, world.deployment)
    assert found.sentence == (
        f"workspace {refused_one.id} of tenant {ACME} would be refused: `MiniMax-M2.7` is"
        " minimax's, and nobody said whose its ANTHROPIC_API_KEY is; if it is theirs: workspacectl"
        f" secrets assign-provider ANTHROPIC_API_KEY minimax --workspace {refused_one.id}"
    )
    assign(world, refused_one, found.provider)
    assert list(find_unassigned.run(world.store, world.deployment)) == []


def test_until_the_rule_is_switched_on_an_unsaid_name_counts_and_is_warned_of(
    world: World,
) -> None:
    workspace = world.create(MINIMAX, secrets=SHARED, said={"ANTHROPIC_API_KEY": "minimax"})
    assign(world, workspace, "")
    with refused(Reason.MISSING_BYOK_CREDENTIAL):
        world.launch(workspace)
    world.deploy(unsaid_secrets_count=True)
    launched = world.launch(workspace)
    assert [notice.code for notice in launched.warnings] == ["SECRET_PROVIDER_UNKNOWN"]
    world.set_own(workspace, "ANTHROPIC_API_KEY", "sk-ant-api03-x")
    assert world.resolve(workspace).resolution.refusal is Reason.MISSING_BYOK_CREDENTIAL
