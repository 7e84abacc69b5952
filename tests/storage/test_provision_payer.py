"""Who pays, over the store: the outage of the forgotten model, and the platform's tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.core.secret import Secret
from provision_service.commands import (
    preview_billing_mode,
    set_billing_mode_override,
    set_tenant_billing,
)
from provision_service.commands.preview_billing_mode import PreviewBillingMode
from provision_service.commands.set_billing_mode_override import SetBillingModeOverride
from provision_service.commands.set_tenant_billing import SetTenantBilling
from provision_service.domain.billing import BillingMode, Source
from provision_service.domain.lifecycle import ProvisionReason
from provision_service.domain.records import Workspace
from provision_service.domain.refusals import Reason
from provision_service.workers import adopt_usage_token
from provision_service.workers.adopt_usage_token import AdoptUsageToken
from tests.storage.provision_world import (
    ACME,
    ADMIN,
    GLOBEX,
    LAUNCHER,
    OAUTH,
    OF_GLOBEX,
    OPUS,
    PLATFORM_MODEL,
    PROXY,
    World,
    at_once,
    emptied,
    opened,
    refused,
    shipped_catalogue,
)

DEPLOYMENT_TOKEN = Secret("usage-token-of-the-deployment")


@pytest.fixture
def world(provision_database_of_module: str, tmp_path: Path) -> Iterator[World]:
    with opened(emptied(provision_database_of_module), tmp_path) as each:
        each.deploy(platform=replace(PROXY, usage_token=DEPLOYMENT_TOKEN))
        adopt_usage_token.run(each.store, AdoptUsageToken(usage_token=DEPLOYMENT_TOKEN))
        yield each


def override(
    world: World, workspace: Workspace, mode: BillingMode | None
) -> set_billing_mode_override.SetBillingModeOverrideResult:
    command = SetBillingModeOverride(call=LAUNCHER, workspace_id=workspace.id, mode=mode)
    return set_billing_mode_override.run(world.store, command, world.deployment)


def bill(
    world: World,
    tenant: str = ACME,
    *,
    token: str | None = None,
    default: BillingMode | None = None,
    create: bool = True,
) -> set_tenant_billing.SetTenantBillingResult:
    command = SetTenantBilling(
        call=ADMIN,
        tenant_id=tenant,
        default_billing=default,
        platform_usage_token=Secret(token) if token is not None else None,
        create=create,
    )
    return set_tenant_billing.run(world.store, command, world.deployment)


@pytest.mark.parametrize("reason", list(ProvisionReason))
@pytest.mark.parametrize("scope", ["workspace", "global"])
def test_every_launch_of_a_byok_workspace_is_byok_whatever_the_reason(
    world: World, reason: ProvisionReason, scope: str
) -> None:
    if scope == "global":
        world.set_global(*next(iter(OAUTH.items())))
    workspace = world.create(secrets=OAUTH if scope == "workspace" else {})
    for _ in range(2):
        launched = world.launch(workspace, reason=reason)
        assert launched.env is not None
        env = launched.env.reveal()
        world.complete(launched.provision)
        assert env["MODEL"] == "opus"
        assert env["MOLECULE_LLM_BILLING_MODE_RESOLVED"] == "byok"
        assert env["MOLECULE_RESOLVED_PROVIDER"] == "anthropic-oauth"
        assert env["CLAUDE_CODE_OAUTH_TOKEN"] == OAUTH["CLAUDE_CODE_OAUTH_TOKEN"]
        assert "ANTHROPIC_BASE_URL" not in env
        assert not [name for name, value in env.items() if value == DEPLOYMENT_TOKEN.reveal()]
        billing = launched.provision.billing
        assert billing is not None
        assert billing.resolution.source is Source.DERIVED_PROVIDER
        assert billing.resolution == world.resolve(workspace).resolution


def test_without_model_and_credential_the_default_is_the_platform_and_the_launch_is_refused(
    world: World,
) -> None:
    workspace = world.create()
    world.sql("UPDATE provision.workspaces SET model = ''")
    world.sql("DELETE FROM provision.secrets")
    resolution = world.resolve(workspace).resolution
    assert resolution.resolved_mode is BillingMode.PLATFORM_MANAGED
    assert resolution.source is Source.DERIVED_DEFAULT
    assert resolution.refusal is Reason.MODEL_REQUIRED
    with refused(Reason.MODEL_REQUIRED):
        world.launch(workspace)


def test_a_stray_credential_of_another_vendor_does_not_reach_the_box(world: World) -> None:
    world.set_global("MINIMAX_API_KEY", "minimax-key")
    world.set_global("CLAUDE_CODE_OAUTH_TOKEN", "stray")
    workspace = world.create(replace(OPUS, model="MiniMax-M2.7"), secrets={})
    env = world.environment(workspace)
    assert env["MOLECULE_RESOLVED_PROVIDER"] == "minimax"
    assert env["MINIMAX_API_KEY"] == "minimax-key"
    assert "CLAUDE_CODE_OAUTH_TOKEN" not in env


def test_a_platform_model_takes_vendor_keys_out_and_puts_the_proxy_in(world: World) -> None:
    world.set_global("ANTHROPIC_API_KEY", "sk-of-the-tenant")
    world.set_global("OPENAI_API_KEY", "sk-of-the-tenant")
    workspace = world.create(replace(OPUS, model=PLATFORM_MODEL), secrets={})
    env = world.environment(workspace)
    assert "OPENAI_API_KEY" not in env
    assert env["ANTHROPIC_API_KEY"] == DEPLOYMENT_TOKEN.reveal()
    assert env["ANTHROPIC_BASE_URL"] == PROXY.anthropic_base_url
    assert env["ANTHROPIC_CUSTOM_HEADERS"] == f"X-Molecule-Workspace-Id: {workspace.id}"
    assert "sk-of-the-tenant" not in env.values()


def test_a_credential_deleted_since_refuses_the_launch(world: World) -> None:
    workspace = world.create()
    world.sql("DELETE FROM provision.secrets")
    with refused(Reason.MISSING_BYOK_CREDENTIAL):
        world.launch(workspace)


def test_an_override_wins_and_unsetting_it_goes_back(world: World) -> None:
    workspace = world.create()
    changed = override(world, workspace, BillingMode.PLATFORM_MANAGED)
    assert changed.billing.resolution.source is Source.WORKSPACE_OVERRIDE
    assert changed.billing.stored_override == "platform_managed"
    assert "CLAUDE_CODE_OAUTH_TOKEN" not in world.environment(workspace)
    back = override(world, workspace, None)
    assert back.billing.resolution.source is Source.DERIVED_PROVIDER
    assert back.billing.stored_override is None
    etag = world.read(workspace).etag
    override(world, workspace, None)
    assert world.read(workspace).etag == etag


def test_a_garbled_override_is_ignored_and_shown(world: World) -> None:
    workspace = world.create()
    world.sql("UPDATE provision.workspaces SET billing_mode_override = 'by0k'")
    billing = world.resolve(workspace)
    assert billing.stored_override == "by0k"
    assert billing.resolution.workspace_override is None
    assert billing.resolution.source is Source.DERIVED_PROVIDER
    assert world.environment(workspace)["MOLECULE_LLM_BILLING_MODE"] == "byok"


def test_a_preview_decides_on_names_alone(world: World) -> None:
    seen = preview_billing_mode.run(
        PreviewBillingMode(
            call=LAUNCHER, model="opus", auth_env_names=frozenset({"CLAUDE_CODE_OAUTH_TOKEN"})
        ),
        world.deployment,
    ).billing.resolution
    assert (seen.resolved_mode, seen.provider_selection) == (BillingMode.BYOK, "anthropic-oauth")
    assert seen.refusal is None
    world.deploy(platform=PROXY)
    platform = preview_billing_mode.run(
        PreviewBillingMode(call=LAUNCHER, model=PLATFORM_MODEL), world.deployment
    ).billing.resolution
    assert (platform.resolved_mode, platform.refusal) == (BillingMode.PLATFORM_MANAGED, None)


def test_the_deployments_usage_token_serves_one_tenant_and_no_second(world: World) -> None:
    spec = replace(OPUS, model=PLATFORM_MODEL)
    first = world.create(spec, secrets={})
    with refused(Reason.MISSING_PLATFORM_PROXY):
        world.create(spec, tenant=GLOBEX, secrets={})
    assert world.count("workspaces") == 1
    bill(world, GLOBEX, token="usage-token-of-globex")
    second = world.create(spec, tenant=GLOBEX, secrets={})
    assert world.environment(first)["MOLECULE_LLM_USAGE_TOKEN"] == DEPLOYMENT_TOKEN.reveal()
    assert world.environment(second)["MOLECULE_LLM_USAGE_TOKEN"] == "usage-token-of-globex"


def test_two_tenants_that_race_for_the_deployments_token_do_not_both_get_it(world: World) -> None:
    spec = replace(OPUS, model=PLATFORM_MODEL)
    answers = at_once(
        [
            lambda tenant=tenant: world.create(spec, tenant=tenant, secrets={})  # type: ignore[misc]
            for tenant in (ACME, GLOBEX, "initech", "umbrella")
        ]
    )
    created = [each for each in answers if isinstance(each, Workspace)]
    lost = [each for each in answers if isinstance(each, Refusal)]
    assert len(created) == 1, answers
    assert {each.reason for each in lost} == {Reason.MISSING_PLATFORM_PROXY}


def test_a_shared_deployment_token_serves_everybody(world: World) -> None:
    world.deploy(usage_token_shared=True)
    for tenant in (ACME, GLOBEX):
        workspace = world.create(replace(OPUS, model=PLATFORM_MODEL), tenant=tenant, secrets={})
        assert world.environment(workspace)["MOLECULE_LLM_USAGE_TOKEN"]


def test_a_tenant_with_a_token_of_its_own_leaves_the_deployments_to_another(world: World) -> None:
    spec = replace(OPUS, model=PLATFORM_MODEL)
    world.create(spec, secrets={})
    bill(world, ACME, token="usage-token-of-acme")
    world.create(spec, tenant=GLOBEX, secrets={})


def test_a_usage_token_is_a_platform_credential_by_itself(world: World) -> None:
    bill(world, GLOBEX, token="usage-token-of-globex")
    for value in ("usage-token-of-globex", DEPLOYMENT_TOKEN.reveal()):
        with refused(Reason.PLATFORM_CREDENTIAL_COMINGLED):
            world.set_global("ANYTHING", value)
    bill(world, GLOBEX, token="the-next-one")
    world.set_global("ANYTHING", "usage-token-of-globex")
    with refused(Reason.PLATFORM_CREDENTIAL_COMINGLED):
        world.set_global("ANYTHING", "the-next-one")
    removed = bill(world, GLOBEX, token="")
    assert not removed.has_platform_usage_token
    world.set_global("ANYTHING", "the-next-one")


def test_one_usage_token_cannot_serve_two_tenants(world: World) -> None:
    bill(world, ACME, token="usage-token-of-acme")
    bill(world, ACME, token="usage-token-of-acme")
    with refused(Reason.PLATFORM_CREDENTIAL_COMINGLED):
        bill(world, GLOBEX, token="usage-token-of-acme")


def test_two_tenants_that_are_given_one_token_at_once_do_not_both_keep_it(world: World) -> None:
    tenants = (ACME, GLOBEX, "initech", "umbrella")
    for round_number in range(4):
        give = partial(bill, world, token=f"usage-token-{round_number}")
        answers = at_once([partial(give, tenant) for tenant in tenants])
        kept = [each for each in answers if not isinstance(each, Exception)]
        assert len(kept) == 1, answers


def test_a_tenants_billing_keeps_what_is_not_given(world: World) -> None:
    assert bill(world).default_billing is BillingMode.BYOK
    first = bill(world, token="usage-token-of-acme", default=BillingMode.PLATFORM_MANAGED)
    assert first.default_billing is BillingMode.PLATFORM_MANAGED
    second = bill(world)
    assert second.default_billing is BillingMode.PLATFORM_MANAGED
    assert second.has_platform_usage_token
    with refused(Reason.BYPASS_KEY_REFUSED):
        world.set_global("OPENAI_API_KEY", "sk-x")
    command = SetTenantBilling(call=OF_GLOBEX, tenant_id=ACME)
    with refused(SharedReason.TENANT_FORBIDDEN):
        set_tenant_billing.run(world.store, command, world.deployment)


def test_a_tenant_that_has_nothing_here_is_unknown_until_it_is_meant(world: World) -> None:
    with refused(Reason.TENANT_UNKNOWN):
        bill(world, "acme-mistyped", token="usage-token-of-acme", create=False)
    assert world.sql("SELECT count(*) FROM provision.tenants") == [(0,)]
    bill(world, "acme-mistyped", token="usage-token-of-acme")
    assert bill(world, "acme-mistyped", create=False).has_platform_usage_token


def test_a_usage_token_that_does_not_open_is_said_to_be_so_until_it_is_given_again(
    world: World,
) -> None:
    workspace = world.create(replace(OPUS, model=PLATFORM_MODEL), secrets={})
    bill(world, ACME, token="usage-token-of-acme")
    world.sql("UPDATE provision.tenants SET usage_token_ciphertext = 'x'::bytea")
    with refused(Reason.SECRET_UNDECRYPTABLE):
        world.launch(workspace)
    assert world.resolve(workspace).resolution.refusal is Reason.SECRET_UNDECRYPTABLE
    bill(world, ACME, token="usage-token-of-acme")
    assert world.environment(workspace)["MOLECULE_LLM_USAGE_TOKEN"] == "usage-token-of-acme"


def test_a_new_usage_token_asks_for_another_launch(world: World) -> None:
    workspace = world.create(replace(OPUS, model=PLATFORM_MODEL), secrets={})
    launched = world.launch(workspace)
    bill(world, ACME, token="usage-token-of-acme")
    assert world.complete(launched.provision).rerun_required


CREDENTIALS = sorted(
    {
        name
        for runtime in shipped_catalogue().runtimes.values()
        for provider in runtime.providers
        if not provider.is_platform
        for name in provider.auth_env
    }
)
# The empty model is a workspace whose model was forgotten.
MODELS = sorted(
    {("claude-code", ""), ("hermes", "")}
    | {
        (runtime.name, model.id)
        for runtime in shipped_catalogue().runtimes.values()
        for offering in runtime.offerings
        for model in offering.models
        if not model.withdrawn
    }
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    model=st.sampled_from(MODELS),
    own=st.sets(st.sampled_from(CREDENTIALS), max_size=3),
    tenants=st.sets(st.sampled_from(CREDENTIALS), max_size=3),
    mode=st.sampled_from(["", *BillingMode, "garbled"]),
)
def test_for_every_workspace_the_read_side_says_what_the_launch_does(
    world: World,
    model: tuple[str, str],
    own: set[str],
    tenants: set[str],
    mode: str,
) -> None:
    world.sql("DELETE FROM provision.secrets")
    runtime, model_id = model
    workspace = world.create(replace(OPUS, runtime="external"), secrets={})
    world.sql(
        "UPDATE provision.workspaces SET runtime = :r, model = :m, billing_mode_override = :o"
        " WHERE workspace_id = :w",
        r=runtime,
        m=model_id,
        o=mode or None,
        w=workspace.id,
    )
    for key in tenants:
        world.set_global(key, f"global-{key}")
    for key in own:
        _plant(world, workspace, key)
    read = world.resolve(workspace)
    if read.resolution.refusal is not None:
        with refused(read.resolution.refusal) as caught:
            world.launch(workspace)
        assert caught.value.message == read.refusal_message
        return
    launched = world.launch(workspace)
    assert launched.provision.billing == read
    assert launched.env is not None
    env = launched.env.reveal()
    assert env["MOLECULE_LLM_BILLING_MODE"] == read.resolution.resolved_mode
    paid_by_platform = read.resolution.resolved_mode is BillingMode.PLATFORM_MANAGED
    assert (DEPLOYMENT_TOKEN.reveal() in env.values()) is paid_by_platform


def _plant(world: World, workspace: Workspace, key: str) -> None:
    """A workspace secret that was written while the workspace was byok."""
    mode = world.sql(
        "SELECT billing_mode_override FROM provision.workspaces WHERE workspace_id = :w",
        w=workspace.id,
    )[0][0]
    change = "UPDATE provision.workspaces SET billing_mode_override = :o WHERE workspace_id = :w"
    world.sql(change, o="byok", w=workspace.id)
    world.set_own(workspace, key, f"own-{key}")
    world.sql(change, o=mode, w=workspace.id)
