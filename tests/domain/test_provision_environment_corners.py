"""Corners of the environment: what is blank, unreadable, of another scope or of nobody."""

from __future__ import annotations

import pytest

from agentworkspace.core.secret import Secret
from provision_service.catalogue.parse import parse_catalogue
from provision_service.domain.billing import BillingMode
from provision_service.domain.environment import Launch, plan_environment, project
from provision_service.domain.model_choice import EffectiveModel
from provision_service.domain.plan import Origin, Variable
from provision_service.domain.platform_proxy import PlatformProxy
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
    assert warnings(decision) == ["MODEL_NOT_LISTED"]


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
            paid=CATALOGUE.providers["anthropic-api"],
            pays_with="ANTHROPIC_API_KEY",
            secrets=merge((), [row]),
            platform=PlatformProxy(base_url="https://llm.platform.test/openai/v1"),
            model_names=frozenset(),
        )
        taken_out = rules.removal(row)
        return taken_out.why if taken_out is not None else None

    def test_a_closed_name_that_was_stored_before_it_was_closed_stays_here(self) -> None:
        row = StoredSecret("WORKSPACE_ID", Scope.WORKSPACE, Secret("forged"))
        assert self.why(row) == "not a tenant's to set"

    def test_an_unreadable_secret_is_not_blank(self) -> None:
        assert self.why(unreadable("ANTHROPIC_API_KEY")) is None
        assert self.why(unreadable(BASE_URL)) is None

    def test_an_endpoint_of_nobody_in_the_catalogue_stays(self) -> None:
        row = StoredSecret(BASE_URL, Scope.WORKSPACE, Secret("https://llm.tenant.test"))
        assert self.why(row) is None

    def test_an_endpoint_of_another_vendor_goes(self) -> None:
        assert self.why(StoredSecret(BASE_URL, Scope.WORKSPACE, Secret(DEEPSEEK))) == (
            "is deepseek's endpoint, and ANTHROPIC_API_KEY is anthropic's"
        )

    def test_a_shared_name_counts_tenant_wide_for_no_vendor_but_its_own(self) -> None:
        tenant = {"ANTHROPIC_AUTH_TOKEN": "shared", "KIMI_API_KEY": "own"}
        decision = launch("hermes", "moonshot/kimi-k2.6", override="byok", tenant=tenant)
        assert list(removed(decision)) == ["ANTHROPIC_AUTH_TOKEN"]

    @pytest.mark.parametrize(
        ("own", "kept"),
        [
            # Nobody's key goes where the tenant says; a vendor's own key does not go to another.
            ({"CUSTOM_API_KEY": "own"}, True),
            ({"OPENAI_API_KEY": "own"}, False),
        ],
    )
    def test_a_provider_of_no_vendor_is_reached_where_the_tenant_says(
        self, own: dict[str, str], kept: bool
    ) -> None:
        decision = launch("hermes", "custom/x", workspace={**own, "OPENAI_BASE_URL": DEEPSEEK})
        assert (removed(decision) == {}) is kept

    def test_a_key_that_its_writer_gave_to_nobodys_provider_goes_with_it(self) -> None:
        own = {"OPENAI_API_KEY": "own", "OPENAI_BASE_URL": DEEPSEEK}
        decision = launch("hermes", "custom/x", workspace=own, said={"OPENAI_API_KEY": "custom"})
        assert "OPENAI_BASE_URL" in environment(decision)

    def test_an_endpoint_of_several_vendors_is_said_to_be_all_of_theirs(self) -> None:
        text = CATALOGUE_TEXT
        for host in ("api.z.ai/api", "api.xiaomimimo.com", "api.minimax.io", "api.moonshot.ai"):
            text = text.replace(f"https://{host}/anthropic", f"{DEEPSEEK}/{host}")
        shared = parse_catalogue(text, file="shared-endpoint.yaml")
        decision = launch(model="opus", workspace={**OAUTH, BASE_URL: DEEPSEEK}, catalogue=shared)
        assert removed(decision) == {
            BASE_URL: "is deepseek, minimax, moonshot, xiaomi, zai's endpoint,"
            " and CLAUDE_CODE_OAUTH_TOKEN is anthropic's"
        }


class TestProjection:
    def projected(self, provider: str, seen: MergedSecrets) -> dict[str, Variable]:
        (row,) = seen.by_key.values()
        return project(CATALOGUE, CATALOGUE.providers[provider], row, variables_of(seen))

    def test_nothing_is_projected_of_one_that_cannot_be_read(self) -> None:
        assert self.projected("kimi-coding", merge((), [unreadable("KIMI_API_KEY")])) == {}

    def test_a_vendors_other_name_is_put_where_the_runtime_looks(self) -> None:
        seen = secrets(workspace={"CODEX_CHATGPT_AUTH_JSON": "{}"})
        there = Variable(Secret("{}"), Origin.WORKSPACE_SECRET)
        assert self.projected("openai-subscription", seen) == {"CODEX_AUTH_JSON": there}

    def test_a_vendor_without_an_endpoint_here_is_not_put_under_a_shared_name(self) -> None:
        assert self.projected("google", secrets({"GEMINI_API_KEY": "own"})) == {}

    def test_a_tenant_wide_key_does_not_follow_an_endpoint_of_the_workspace(self) -> None:
        decision = launch(
            model="claude-opus-4-7",
            tenant={"ANTHROPIC_API_KEY": "anthropics"},
            workspace={BASE_URL: DEEPSEEK},
        )
        assert removed(decision) == {
            BASE_URL: "is deepseek's endpoint, and ANTHROPIC_API_KEY is anthropic's"
        }
