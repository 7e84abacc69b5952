"""Secrets: what may be written where, what a box gets, and what a damaged row does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentworkspace.core.refusal import SharedReason
from agentworkspace.core.secret import Secret
from provision_service.commands import (
    check_credentials,
    delete_global_secret,
    delete_workspace_secret,
    get_secret_values,
    list_secrets,
    remove_workspace,
    set_billing_mode_override,
)
from provision_service.commands.check_credentials import CheckCredentials
from provision_service.commands.delete_global_secret import DeleteGlobalSecret
from provision_service.commands.delete_workspace_secret import DeleteWorkspaceSecret
from provision_service.commands.get_secret_values import GetSecretValues
from provision_service.commands.list_secrets import ListSecrets
from provision_service.commands.remove_workspace import RemoveWorkspace
from provision_service.commands.set_billing_mode_override import SetBillingModeOverride
from provision_service.domain.billing import BillingMode
from provision_service.domain.probing import Verdict
from provision_service.domain.records import SecretEntry, Workspace
from provision_service.domain.refusals import Reason
from provision_service.domain.registry_port import Bearer, RegistryRefused
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import (
    ACME,
    GLOBEX,
    LAUNCHER,
    OAUTH,
    OF_GLOBEX,
    OPUS,
    PLATFORM_MODEL,
    PROXY,
    World,
    refused,
)


def listed(world: World, workspace: Workspace | None = None) -> dict[str, SecretEntry]:
    command = ListSecrets(
        call=LAUNCHER, tenant_id=ACME, workspace_id=workspace.id if workspace else ""
    )
    return {entry.key: entry for entry in list_secrets.run(world.store, command).rows}


def delete_global(world: World, key: str) -> bool:
    command = DeleteGlobalSecret(call=LAUNCHER, tenant_id=ACME, key=key)
    return delete_global_secret.run(world.store, command)


def delete_own(world: World, workspace: Workspace, key: str) -> bool:
    command = DeleteWorkspaceSecret(call=LAUNCHER, workspace_id=workspace.id, key=key)
    return delete_workspace_secret.run(world.store, command)


def values(world: World, workspace: Workspace, bearer: str | None) -> dict[str, str]:
    command = GetSecretValues(
        workspace_id=workspace.id, bearer=Secret(bearer) if bearer is not None else None
    )
    found = get_secret_values.run(world.store, command, world.deployment, world.registry)
    return {key: value.reveal() for key, value in found.values.items()}


def platform_paid(world: World) -> Workspace:
    world.deploy(platform=replace(PROXY, usage_token=Secret("usage-token-of-deployment")))
    return world.create(replace(OPUS, model=PLATFORM_MODEL), secrets={})


def test_a_workspaces_secret_hides_the_tenants_of_the_same_name(world: World) -> None:
    workspace = world.create()
    world.set_global("CLAUDE_CODE_OAUTH_TOKEN", "global-one")
    world.set_global("SHARED", "s")
    assert world.environment(workspace)["CLAUDE_CODE_OAUTH_TOKEN"] == next(iter(OAUTH.values()))
    seen = listed(world, workspace)
    assert seen["CLAUDE_CODE_OAUTH_TOKEN"].scope == "workspace"
    assert seen["CLAUDE_CODE_OAUTH_TOKEN"].overrides_global
    assert (seen["SHARED"].scope, seen["SHARED"].overrides_global) == ("global", False)
    assert set(listed(world)) == {"CLAUDE_CODE_OAUTH_TOKEN", "SHARED"}
    assert delete_own(world, workspace, "CLAUDE_CODE_OAUTH_TOKEN")
    assert world.environment(workspace)["CLAUDE_CODE_OAUTH_TOKEN"] == "global-one"


def test_a_value_comes_back_verbatim_and_is_never_stored_as_it_is(world: World) -> None:
    workspace = world.create()
    value = "  line 1\nline 2 \t\u2713 \U0001f511 '; DROP TABLE x; -- "
    world.set_own(workspace, "ODD", value)
    assert world.environment(workspace)["ODD"] == value
    stored = world.sql("SELECT ciphertext FROM provision.secrets WHERE key = 'ODD'")[0][0]
    assert value.encode() not in bytes(stored)


def test_writing_again_replaces_and_keeps_the_time_of_the_first(world: World) -> None:
    workspace = world.create()
    world.set_own(workspace, "A", "1")
    first = listed(world, workspace)["A"]
    world.set_own(workspace, "A", "2")
    second = listed(world, workspace)["A"]
    assert second.create_time == first.create_time
    assert second.update_time > first.update_time
    assert world.environment(workspace)["A"] == "2"


def test_every_write_counts_and_a_delete_of_nothing_does_not(world: World) -> None:
    workspace = world.create()
    start = world.read(workspace).input_revision
    world.set_own(workspace, "A", "1")
    world.set_global("B", "1")
    assert delete_own(world, workspace, "A")
    assert delete_global(world, "B")
    assert world.read(workspace).input_revision == start + 4
    assert not delete_own(world, workspace, "A")
    assert not delete_global(world, "B")
    assert world.read(workspace).input_revision == start + 4


@pytest.mark.parametrize(
    "key",
    ["WORKSPACE_ID", "MOLECULE_ANYTHING", "PATH", "LD_PRELOAD", "PYTHONPATH", "NODE_OPTIONS",
     "ADMIN_TOKEN", "MOLECULE_OPERATOR_X", "AWS_SECRET_ACCESS_KEY"],
)  # fmt: skip
def test_forbidden_and_reserved_names_are_refused_at_every_scope(world: World, key: str) -> None:
    workspace = world.create()
    with refused(Reason.FORBIDDEN_ENV_KEY):
        world.set_global(key, "x")
    with refused(Reason.FORBIDDEN_ENV_KEY):
        world.set_own(workspace, key, "x")
    assert set(listed(world, workspace)) == set(OAUTH)


def test_a_source_host_token_is_for_one_workspace_only(world: World) -> None:
    workspace = world.create()
    with refused(Reason.FORBIDDEN_ENV_KEY):
        world.set_global("GITEA_TOKEN", "x")
    world.set_own(workspace, "GITEA_TOKEN", "x")
    assert world.environment(workspace)["GITEA_TOKEN"] == "x"


def test_a_bypass_name_is_refused_tenant_wide_where_the_platform_pays_by_default(
    world: World,
) -> None:
    world.deploy(default_billing=BillingMode.PLATFORM_MANAGED)
    with refused(Reason.BYPASS_KEY_REFUSED):
        world.set_global("OPENAI_API_KEY", "sk-x")
    world.set_global("HARMLESS", "x")
    world.deploy(default_billing=BillingMode.BYOK)
    world.set_global("OPENAI_API_KEY", "sk-x")


def test_a_bypass_name_is_refused_for_a_workspace_the_platform_pays_for(world: World) -> None:
    workspace = platform_paid(world)
    for key in ("OPENAI_API_KEY", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_OAUTH_TOKEN"):
        with refused(Reason.BYPASS_KEY_REFUSED):
            world.set_own(workspace, key, "sk-x")
    world.set_own(workspace, "HARMLESS", "x")
    command = SetBillingModeOverride(
        call=LAUNCHER, workspace_id=workspace.id, mode=BillingMode.BYOK
    )
    changed = set_billing_mode_override.run(world.store, command, world.deployment)
    assert "MISSING_BYOK_CREDENTIAL" in [warning.code for warning in changed.warnings]
    world.set_own(workspace, "ANTHROPIC_API_KEY", "sk-x")
    assert world.environment(workspace)["ANTHROPIC_API_KEY"] == "sk-x"


@pytest.mark.parametrize("key", ["MODEL", "MOLECULE_MODEL"])
def test_a_model_written_as_a_workspaces_secret_becomes_the_specs(world: World, key: str) -> None:
    workspace = world.create()
    before = world.read(workspace)
    written = world.set_own(workspace, key, " sonnet ")
    assert (written.secret, written.model) == (None, "sonnet")
    after = world.read(workspace)
    assert after.spec.model == "sonnet"
    assert after.etag != before.etag
    assert set(listed(world, workspace)) == set(OAUTH)
    assert world.environment(workspace)["MODEL"] == "sonnet"
    assert not delete_own(world, workspace, key)


def test_a_blank_model_changes_nothing(world: World) -> None:
    workspace = world.create()
    written = world.set_own(workspace, "MODEL", "  ")
    assert [warning.code for warning in written.warnings] == ["MODEL_BLANK"]
    assert world.read(workspace) == workspace


def test_a_model_that_changes_the_payer_says_so(world: World) -> None:
    world.deploy(platform=replace(PROXY, usage_token=Secret("usage-token-of-deployment")))
    written = world.set_own(world.create(), "MODEL", PLATFORM_MODEL)
    assert "PAYER_CHANGED" in [warning.code for warning in written.warnings]


def test_a_tenants_model_is_the_default_of_workspaces_without_one(world: World) -> None:
    workspace = world.create()
    world.sql("UPDATE provision.workspaces SET model = ''")
    world.set_global("MODEL", "haiku")
    world.set_global("MOLECULE_MODEL", "sonnet")
    assert world.environment(workspace)["MODEL"] == "sonnet"
    assert world.resolve(workspace).resolution.effective_model_source == "secret:MOLECULE_MODEL"


def test_all_secrets_of_a_workspace_together_have_a_limit(world: World) -> None:
    workspace = world.create()
    for number in range(4):
        world.set_global(f"G{number}", "x" * 65_000)
        world.set_own(workspace, f"W{number}", "x" * 65_000)
    with refused(Reason.SECRET_LIMIT_EXCEEDED):
        world.set_own(workspace, "W9", "x" * 10_000)
    with refused(Reason.SECRET_LIMIT_EXCEEDED):
        world.set_global("G9", "x" * 10_000)
    world.set_own(workspace, "G0", "short")
    world.set_own(workspace, "W9", "x" * 10_000)


def test_secrets_of_a_foreign_tenant_are_out_of_reach(world: World) -> None:
    workspace = world.create()
    with refused(SharedReason.TENANT_FORBIDDEN):
        list_secrets.run(
            world.store, ListSecrets(call=OF_GLOBEX, tenant_id="", workspace_id=workspace.id)
        )
    with refused(SharedReason.WORKSPACE_UNKNOWN):
        list_secrets.run(
            world.store,
            ListSecrets(call=LAUNCHER, tenant_id=GLOBEX, workspace_id=workspace.id),
        )
    with refused(SharedReason.TENANT_FORBIDDEN):
        delete_global_secret.run(
            world.store, DeleteGlobalSecret(call=OF_GLOBEX, tenant_id=ACME, key="A")
        )


def test_a_removed_workspace_forgets_its_secrets_and_takes_no_new_ones(world: World) -> None:
    workspace = world.create()
    world.set_global("SHARED", "s")
    command = RemoveWorkspace(call=LAUNCHER, workspace_id=workspace.id)
    remove_workspace.run(world.store, command, world.deployment, world.registry)
    assert world.sql("SELECT key FROM provision.secrets") == [("SHARED",)]
    with refused(SharedReason.WORKSPACE_REMOVED):
        world.set_own(workspace, "A", "1")
    assert not delete_own(world, workspace, "CLAUDE_CODE_OAUTH_TOKEN")


def test_the_pages_of_a_merged_view_meet(world: World) -> None:
    workspace = world.create()
    for number in range(5):
        world.set_global(f"G{number}", "x")
        world.set_own(workspace, f"W{number}", "x")
    world.set_own(workspace, "G0", "mine")
    seen: list[str] = []
    token = ""
    while True:
        command = ListSecrets(
            call=LAUNCHER, workspace_id=workspace.id, page_size=3, page_token=token
        )
        page = list_secrets.run(world.store, command)
        seen += [entry.key for entry in page.rows]
        token = page.next_page_token
        if not token:
            break
    assert len(seen) == len(set(seen)) == 11
    assert seen[0] == "G0"


DAMAGES = {
    "truncated": "UPDATE provision.secrets SET ciphertext = substr(ciphertext, 1, 8)"
    " WHERE key = 'CLAUDE_CODE_OAUTH_TOKEN'",
    "emptied": "UPDATE provision.secrets SET ciphertext = ''::bytea, nonce = ''::bytea"
    " WHERE key = 'CLAUDE_CODE_OAUTH_TOKEN'",
    "swapped with another key": "UPDATE provision.secrets a SET ciphertext = b.ciphertext,"
    " nonce = b.nonce FROM provision.secrets b"
    " WHERE a.key = 'CLAUDE_CODE_OAUTH_TOKEN' AND b.key = 'OTHER'",
    "of another tenant": "UPDATE provision.secrets a SET ciphertext = b.ciphertext,"
    " nonce = b.nonce FROM provision.secrets b WHERE a.tenant_id = 'acme'"
    " AND b.tenant_id = 'globex' AND a.key = b.key AND b.key = 'CLAUDE_CODE_OAUTH_TOKEN'",
    "another nonce": "UPDATE provision.secrets SET nonce = '\\x000000000000000000000000'::bytea"
    " WHERE key = 'CLAUDE_CODE_OAUTH_TOKEN'",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_row_is_refused_and_never_read_as_something_else(
    world: World, damage: str
) -> None:
    workspace = world.create(secrets={**OAUTH, "OTHER": "sk-another-value"})
    world.create(tenant=GLOBEX, secrets={"CLAUDE_CODE_OAUTH_TOKEN": "sk-of-globex"})
    world.sql(DAMAGES[damage])
    with refused(Reason.SECRET_UNDECRYPTABLE) as caught:
        world.launch(workspace)
    assert caught.value.metadata["keys"] == "CLAUDE_CODE_OAUTH_TOKEN"
    assert world.resolve(workspace).resolution.refusal is Reason.SECRET_UNDECRYPTABLE
    world.set_own(workspace, "CLAUDE_CODE_OAUTH_TOKEN", "sk-written-again")
    assert world.environment(workspace)["CLAUDE_CODE_OAUTH_TOKEN"] == "sk-written-again"


def test_a_key_that_this_replica_does_not_know_is_no_verdict_on_a_row(world: World) -> None:
    workspace = world.create()
    world.sql("UPDATE provision.secrets SET key_id = 'k9'")
    with refused(SharedReason.STORE_UNAVAILABLE):
        world.launch(workspace)


def test_a_row_relabelled_to_another_scope_does_not_open(world: World) -> None:
    workspace = world.create()
    world.sql("UPDATE provision.secrets SET workspace_id = NULL")
    with refused(Reason.SECRET_UNDECRYPTABLE):
        world.launch(workspace)


def test_the_box_gets_its_own_values_and_nothing_a_launch_would_take_out(world: World) -> None:
    workspace = world.create(replace(OPUS, model="MiniMax-M2.7"), secrets={"MINIMAX_API_KEY": "m"})
    world.set_global("CLAUDE_CODE_OAUTH_TOKEN", "stray")
    world.set_global("SHARED", "s")
    world.environment(workspace)
    world.registry.bearers["awi_box"] = Bearer(
        workspace_id=workspace.id, tenant_id=ACME, incarnation=1, evidence_backed=True
    )
    found = values(world, workspace, "awi_box")
    assert found["MINIMAX_API_KEY"] == "m"
    assert found["SHARED"] == "s"
    assert "CLAUDE_CODE_OAUTH_TOKEN" not in found
    assert "WORKSPACE_BOOTSTRAP_TICKET" not in found


def test_only_the_box_of_the_current_launch_gets_values(world: World) -> None:
    workspace = world.create()
    world.environment(workspace)
    world.registry.bearers["old"] = Bearer(
        workspace_id=workspace.id, tenant_id=ACME, incarnation=0, evidence_backed=True
    )
    world.registry.bearers["other"] = Bearer(
        workspace_id=new_id(), tenant_id=ACME, incarnation=1, evidence_backed=True
    )
    for bearer in (None, "unknown", "old", "other"):
        with refused(SharedReason.BEARER_REJECTED):
            values(world, workspace, bearer)
    nobody = replace(workspace, id=new_id())
    with refused(SharedReason.BEARER_REJECTED):
        values(world, nobody, "unknown")
    world.registry.down = True
    with refused(Reason.REGISTRY_UNAVAILABLE):
        values(world, workspace, "old")


def test_a_bearer_that_the_registry_will_not_look_at_is_rejected_for_good(world: World) -> None:
    workspace = world.create()
    world.launch(workspace)
    world.registry.refusals["validate_token"] = RegistryRefused("INVALID_REQUEST", "too long")
    with refused(SharedReason.BEARER_REJECTED):
        values(world, workspace, "x" * 5000)


def test_the_gates_of_a_launch_hold_for_values_too(world: World) -> None:
    workspace = world.create()
    world.environment(workspace)
    world.registry.bearers["awi_box"] = Bearer(
        workspace_id=workspace.id, tenant_id=ACME, incarnation=1, evidence_backed=True
    )
    delete_own(world, workspace, "CLAUDE_CODE_OAUTH_TOKEN")
    with refused(Reason.MISSING_BYOK_CREDENTIAL):
        values(world, workspace, "awi_box")


def test_checking_credentials_asks_for_the_payers_key_and_the_whole_menu(world: World) -> None:
    workspace = world.create()
    command = CheckCredentials(call=LAUNCHER, workspace_id=workspace.id)
    checked = check_credentials.run(world.store, command, world.deployment, world.prober)
    assert [result.env for result in checked.results] == ["CLAUDE_CODE_OAUTH_TOKEN"]
    verdicts = {result.model: result.verdict for result in checked.matrix}
    assert verdicts["opus"] is Verdict.OK
    assert verdicts[PLATFORM_MODEL] is Verdict.SKIP
    assert verdicts["MiniMax-M2.7"] is Verdict.SKIP
