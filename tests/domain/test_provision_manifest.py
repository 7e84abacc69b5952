"""Where each variable comes from, and the facts that only the launch itself adds."""

from __future__ import annotations

import pytest

from agentworkspace.core.secret import Secret
from provision_service.domain.plan import LaunchFacts, Origin, materialize
from tests.domain.provision_launches import WORKSPACE, launch

PLATFORM_MODEL = "anthropic/claude-opus-4-7"
CLAUDE_CODE_RECIPE = (
    "ANTHROPIC_DEFAULT_FABLE_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL", "ANTHROPIC_MODEL", "ANTHROPIC_SMALL_FAST_MODEL",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL",
    "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST", "CLAUDE_CODE_SUBAGENT_MODEL", "DISABLE_AUTOUPDATER",
    "DISABLE_ERROR_REPORTING", "DISABLE_TELEMETRY", "WORKSPACE_LAUNCH",
)  # fmt: skip
OAUTH = {"CLAUDE_CODE_OAUTH_TOKEN": "own-oauth"}


def test_every_variable_tells_where_it_comes_from() -> None:
    decision = launch(
        model=PLATFORM_MODEL, tenant={"A": "1"}, workspace={"B": "2"}, role="reviewer"
    )
    assert decision.plan is not None
    assert {name: origin.value for name, origin, _ in decision.plan.manifest()} == {
        "A": "global_secret",
        "B": "workspace_secret",
        "ANTHROPIC_API_KEY": "platform",
        "ANTHROPIC_BASE_URL": "platform",
        "ANTHROPIC_CUSTOM_HEADERS": "platform",
        "MODEL": "spec",
        "MOLECULE_AGENT_ROLE": "spec",
        "MOLECULE_LLM_ANTHROPIC_BASE_URL": "platform",
        "MOLECULE_LLM_BASE_URL": "platform",
        "MOLECULE_LLM_BILLING_MODE": "derived",
        "MOLECULE_LLM_BILLING_MODE_RESOLVED": "derived",
        "MOLECULE_LLM_USAGE_TOKEN": "platform",
        "MOLECULE_LLM_USAGE_URL": "platform",
        "MOLECULE_MODEL": "spec",
        "MOLECULE_RESOLVED_PROVIDER": "derived",
        **dict.fromkeys(CLAUDE_CODE_RECIPE, "recipe"),
    }


@pytest.mark.parametrize(
    ("arguments", "origin"),
    [
        ({"request_model": "opus"}, Origin.SPEC),
        ({"model": "opus"}, Origin.SPEC),
        ({"tenant": {"MODEL": "opus"}}, Origin.GLOBAL_SECRET),
        ({"tenant": {"MOLECULE_MODEL": "opus"}}, Origin.GLOBAL_SECRET),
    ],
)
def test_the_model_tells_which_rung_it_was_found_on(
    arguments: dict[str, object], origin: Origin
) -> None:
    decision = launch(workspace=OAUTH, **arguments)  # type: ignore[arg-type]  # one of several
    assert decision.plan is not None
    assert decision.plan.variables["MODEL"].origin is origin
    assert decision.plan.variables["MOLECULE_MODEL"].origin is origin


def test_a_plan_shows_no_value() -> None:
    decision = launch(model="opus", workspace={"CLAUDE_CODE_OAUTH_TOKEN": "do-not-show"})
    assert "do-not-show" not in repr(decision)


FACTS = LaunchFacts(
    workspace_id=WORKSPACE,
    incarnation=7,
    bootstrap_ticket=Secret("awt_ticket"),
    registry_address="registry.test:7101",
)


def test_materialize_adds_the_facts_of_the_launch() -> None:
    plan = launch(model="opus", workspace=OAUTH).plan
    assert plan is not None
    before = plan.reveal()
    whole = materialize(plan, FACTS)
    added = {name: value for name, value in whole.reveal().items() if name not in before}
    assert added == {
        "WORKSPACE_ID": WORKSPACE,
        "WORKSPACE_INCARNATION": "7",
        "WORKSPACE_BOOTSTRAP_TICKET": "awt_ticket",
        "WORKSPACE_REGISTRY_ADDRESS": "registry.test:7101",
    }
    assert plan.reveal() == before
    assert {name: whole.variables[name].origin.value for name in added} == {
        "WORKSPACE_ID": "spec",
        "WORKSPACE_INCARNATION": "registry",
        "WORKSPACE_BOOTSTRAP_TICKET": "registry",
        "WORKSPACE_REGISTRY_ADDRESS": "platform",
    }


def test_materialize_adds_the_authority_when_the_registry_speaks_tls() -> None:
    plan = launch(model="opus", workspace=OAUTH).plan
    assert plan is not None
    facts = LaunchFacts(
        workspace_id=WORKSPACE,
        incarnation=1,
        bootstrap_ticket=Secret("t"),
        registry_address="a",
        registry_ca="-----BEGIN CERTIFICATE-----",
    )
    assert materialize(plan, facts).reveal()["WORKSPACE_REGISTRY_CA"].startswith("-----BEGIN")


def test_materialize_keeps_the_list_of_what_was_removed() -> None:
    plan = launch(model=PLATFORM_MODEL, tenant=OAUTH).plan
    assert plan is not None
    assert [entry.name for entry in materialize(plan, FACTS).removed] == ["CLAUDE_CODE_OAUTH_TOKEN"]


def test_origins_are_the_words_of_the_manifest() -> None:
    assert [origin.value for origin in Origin] == [
        "spec", "global_secret", "workspace_secret", "platform", "registry", "derived",
        "recipe",
    ]  # fmt: skip
