"""Corners of the environment: what is blank, unreadable, of another scope or of nobody."""

from __future__ import annotations

import pytest

from agentworkspace.core.secret import Secret
from provision_service.catalogue.parse import parse_catalogue
from provision_service.domain.billing import BillingMode
from provision_service.domain.credentials import accepted_globally
from provision_service.domain.environment import Launch, plan_environment
from provision_service.domain.model_choice import EffectiveModel
from provision_service.domain.plan import Origin, Removed, Variable
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.projection import Projection, project
from provision_service.domain.removal import removal_rules
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import MergedSecrets, StoredSecret, merge
from provision_service.domain.spec import WorkspaceSpec
from tests.domain.provision_launches import (
    CATALOGUE,
    CATALOGUE_TEXT,
    NO_PROXY,
    WORKSPACE,
    environment,
    launch,
    removed,
    secrets,
    warnings,
)

BASE_URL = "ANTHROPIC_BASE_URL"
DEEPSEEK = "https://api.deepseek.com/anthropic"
OAUTH = {"CLAUDE_CODE_OAUTH_TOKEN": "own"}


def unreadable(key: str, scope: Scope = Scope.WORKSPACE) -> StoredSecret:
    return StoredSecret(key, scope, None)


def variables_of(seen: MergedSecrets) -> dict[str, Variable]:
    """Every readable secret as a variable, before anything is projected."""
    return {
        key: Variable(row.value, Origin.WORKSPACE_SECRET)
        for key, row in seen.by_key.items()
        if row.value is not None
    }


def test_a_model_that_a_pattern_serves_was_not_withdrawn() -> None:
    decision = launch("claude-code", "claude-haiku-9", tenant={"ANTHROPIC_API_KEY": "own"})
    assert decision.refusal is None
    assert warnings(decision) == []


def test_a_runtime_without_an_entry_is_told_its_model() -> None:
    assert environment(launch("external", "any/model"))["MODEL"] == "any/model"


def test_an_unreadable_secret_is_in_no_plan() -> None:
    at = Launch(
        workspace_id=WORKSPACE,
        spec=WorkspaceSpec(runtime="claude-code"),
        mode=BillingMode.DISABLED,
        provider=None,
        model=EffectiveModel("", "none", ()),
    )
    plan = plan_environment(CATALOGUE, at, merge((), [unreadable("GREETING")]), NO_PROXY)
    assert "GREETING" not in plan.variables
    assert plan.removed == ()


def test_role_and_parent_come_from_the_spec_and_the_provider_is_derived() -> None:
    decision = launch(model="opus", workspace=OAUTH, role="reviewer", parent_id="a-parent")
    assert decision.plan is not None
    origins = {name: variable.origin.value for name, variable in decision.plan.variables.items()}
    assert origins["MOLECULE_AGENT_ROLE"] == "spec"
    assert origins["PARENT_ID"] == "spec"
    assert origins["MOLECULE_RESOLVED_PROVIDER"] == "derived"


def test_a_blank_parent_is_no_parent() -> None:
    assert "PARENT_ID" not in environment(launch(model="opus", workspace=OAUTH, parent_id=" "))


@pytest.mark.parametrize("usage_url", [None, "", " "])
def test_an_address_that_the_platform_does_not_have_is_not_set(usage_url: str | None) -> None:
    platform = PlatformProxy(
        anthropic_base_url="https://llm.platform.test/anthropic",
        usage_url=usage_url,
        usage_token=Secret("usage-token-of-the-tenant"),
    )
    env = environment(launch(model="anthropic/claude-opus-4-7", platform=platform))
    assert env["MOLECULE_LLM_ANTHROPIC_BASE_URL"] == "https://llm.platform.test/anthropic"
    assert "MOLECULE_LLM_USAGE_URL" not in env
    assert "MOLECULE_LLM_BASE_URL" not in env


class TestRemoval:
    def why(self, row: StoredSecret) -> str | None:
        rules = removal_rules(
            CATALOGUE,
            runtime="claude-code",
            mode=BillingMode.BYOK,
            provider=CATALOGUE.providers["anthropic-api"],
            platform=PlatformProxy(base_url="https://llm.platform.test/openai/v1"),
        )
        return rules.why_removed(row)

    def test_a_closed_name_that_was_stored_before_it_was_closed_stays_here(self) -> None:
        row = StoredSecret("WORKSPACE_ID", Scope.WORKSPACE, Secret("forged"))
        assert self.why(row) == "not a tenant's to set"

    def test_an_unreadable_secret_is_not_blank(self) -> None:
        assert self.why(unreadable("ANTHROPIC_API_KEY")) is None
        assert self.why(unreadable(BASE_URL)) is None

    def test_an_endpoint_of_the_tenant_stays(self) -> None:
        assert self.why(StoredSecret(BASE_URL, Scope.WORKSPACE, Secret(DEEPSEEK))) is None

    def test_a_shared_name_counts_tenant_wide_for_no_vendor_but_its_own(self) -> None:
        assert "ANTHROPIC_API_KEY" in accepted_globally(CATALOGUE, CATALOGUE.runtimes["hermes"])
        assert "ANTHROPIC_AUTH_TOKEN" not in accepted_globally(
            CATALOGUE, CATALOGUE.runtimes["hermes"]
        )
        tenant = {"ANTHROPIC_AUTH_TOKEN": "shared", "KIMI_API_KEY": "own"}
        decision = launch("hermes", "moonshot/kimi-k2.6", override="byok", tenant=tenant)
        assert list(removed(decision)) == ["ANTHROPIC_AUTH_TOKEN"]


class TestProjection:
    def projected(self, provider: str, seen: MergedSecrets) -> Projection:
        return project(CATALOGUE, CATALOGUE.providers[provider], seen, variables_of(seen))

    def test_without_a_credential_nothing_is_projected(self) -> None:
        assert self.projected("kimi-coding", secrets()) == Projection({}, None)

    def test_nor_with_one_that_cannot_be_read(self) -> None:
        seen = merge((), [unreadable("KIMI_API_KEY")])
        assert self.projected("kimi-coding", seen) == Projection({}, None)

    def test_a_vendors_other_name_is_put_where_the_runtime_looks(self) -> None:
        seen = secrets(workspace={"CODEX_CHATGPT_AUTH_JSON": "{}"})
        there = Variable(Secret("{}"), Origin.WORKSPACE_SECRET)
        assert self.projected("openai-subscription", seen).variables == {"CODEX_AUTH_JSON": there}

    def test_a_vendor_without_an_endpoint_here_is_not_put_under_a_shared_name(self) -> None:
        assert self.projected("google", secrets({"GEMINI_API_KEY": "own"})).variables == {}

    def test_a_provider_of_no_vendor_has_no_foreign_endpoint(self) -> None:
        seen = secrets(workspace={"CUSTOM_API_KEY": "own", BASE_URL: DEEPSEEK})
        assert self.projected("custom", seen).removed is None

    def test_an_endpoint_that_is_out_already_is_not_taken_out_again(self) -> None:
        seen = secrets(workspace={"KIMI_API_KEY": "own", BASE_URL: DEEPSEEK})
        kimi = CATALOGUE.providers["kimi-coding"]
        assert project(CATALOGUE, kimi, seen, {}).removed is None

    def test_an_endpoint_that_cannot_be_read_is_nobodys(self) -> None:
        own = StoredSecret("KIMI_API_KEY", Scope.WORKSPACE, Secret("own"))
        seen = merge((), [unreadable(BASE_URL), own])
        there = {BASE_URL: Variable(Secret(DEEPSEEK), Origin.DERIVED)}
        kimi = CATALOGUE.providers["kimi-coding"]
        assert project(CATALOGUE, kimi, seen, there).removed is None

    def test_a_tenant_wide_key_does_not_follow_an_endpoint_of_the_workspace(self) -> None:
        decision = launch(
            model="claude-opus-4-7",
            tenant={"ANTHROPIC_API_KEY": "anthropics"},
            workspace={BASE_URL: DEEPSEEK},
        )
        assert removed(decision) == {
            BASE_URL: "is deepseek's endpoint, and ANTHROPIC_API_KEY is anthropic's"
        }

    def test_an_endpoint_of_several_vendors_is_said_to_be_all_of_theirs(self) -> None:
        text = CATALOGUE_TEXT
        for host in ("api.z.ai/api", "api.xiaomimimo.com", "api.minimax.io", "api.moonshot.ai"):
            text = text.replace(f"https://{host}/anthropic", f"{DEEPSEEK}/{host}")
        shared = parse_catalogue(text, file="shared-endpoint.yaml")
        seen = secrets(workspace={**OAUTH, BASE_URL: DEEPSEEK})
        oauth = shared.providers["anthropic-oauth"]
        assert project(shared, oauth, seen, variables_of(seen)).removed == Removed(
            BASE_URL,
            Scope.WORKSPACE,
            "is deepseek, minimax, moonshot, xiaomi, zai's endpoint,"
            " and CLAUDE_CODE_OAUTH_TOKEN is anthropic's",
        )
