"""Incident 2, as inputs and required outcomes: a restart that forgot the model."""

from __future__ import annotations

import pytest

from tests.domain.provision_launches import (
    NO_PROXY,
    PROXY,
    environment,
    launch,
    reason,
    removed,
)

OAUTH = {"CLAUDE_CODE_OAUTH_TOKEN": "the-tenants-own"}


def test_a_restart_that_names_no_model_stays_byok_on_the_stored_one() -> None:
    decision = launch(model="opus", request_model="", workspace=OAUTH)
    resolution = decision.resolution
    assert resolution.resolved_mode == "byok"
    assert resolution.source == "derived_provider"
    assert resolution.provider_selection == "anthropic-oauth"
    assert resolution.effective_model_source == "spec"
    env = environment(decision)
    assert env["CLAUDE_CODE_OAUTH_TOKEN"] == "the-tenants-own"
    assert env["MODEL"] == "opus"
    assert env["MOLECULE_LLM_BILLING_MODE_RESOLVED"] == "byok"
    assert "ANTHROPIC_BASE_URL" not in env
    assert "MOLECULE_LLM_USAGE_TOKEN" not in env
    assert "usage-token-of-the-tenant" not in env.values()


def test_no_model_anywhere_and_no_credential_is_the_default_and_does_not_launch() -> None:
    decision = launch()
    assert decision.resolution.resolved_mode == "platform_managed"
    assert decision.resolution.source == "derived_default"
    assert reason(decision) == "MODEL_REQUIRED"


def test_the_token_at_tenant_scope_survives_in_byok() -> None:
    decision = launch(model="opus", tenant=OAUTH)
    assert environment(decision)["CLAUDE_CODE_OAUTH_TOKEN"] == "the-tenants-own"


def test_a_stray_oauth_token_goes_and_the_minimax_key_stays() -> None:
    decision = launch(model="MiniMax-M2.7", tenant={**OAUTH, "MINIMAX_API_KEY": "minimax"})
    assert decision.resolution.provider_selection == "minimax"
    assert environment(decision)["MINIMAX_API_KEY"] == "minimax"
    assert removed(decision).keys() == {"CLAUDE_CODE_OAUTH_TOKEN"}


@pytest.mark.parametrize("at_create", [True, False])
@pytest.mark.parametrize("platform", [PROXY, NO_PROXY])
def test_byok_without_a_credential_is_refused_at_create_and_at_provision(
    at_create: bool, platform: object
) -> None:
    proxy = PROXY if platform is PROXY else NO_PROXY
    decision = launch(model="opus", at_create=at_create, platform=proxy)
    assert reason(decision) == "MISSING_BYOK_CREDENTIAL"
    assert decision.resolution.resolved_mode == "byok"


def test_a_platform_model_with_vendor_keys_lying_around_runs_on_the_proxy_alone() -> None:
    decision = launch(
        model="anthropic/claude-opus-4-7",
        tenant={**OAUTH, "MINIMAX_API_KEY": "minimax"},
        workspace={"ANTHROPIC_API_KEY": "anthropic", "OPENAI_API_KEY": "openai"},
    )
    env = environment(decision)
    assert env["ANTHROPIC_BASE_URL"] == "https://llm.platform.test/anthropic"
    assert env["ANTHROPIC_API_KEY"] == "usage-token-of-the-tenant"
    assert env["MOLECULE_LLM_USAGE_TOKEN"] == "usage-token-of-the-tenant"
    assert removed(decision).keys() == {
        "CLAUDE_CODE_OAUTH_TOKEN",
        "MINIMAX_API_KEY",
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
    }


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("opus", "anthropic-oauth"),
        ("claude-opus-4-7", "anthropic-api"),
        ("anthropic/claude-opus-4-7", "platform"),
        ("moonshot/kimi-k2.6", "platform"),
        ("kimi-for-coding", "kimi-coding"),
    ],
)
def test_the_model_facts_of_the_incident(model: str, provider: str) -> None:
    assert launch(model=model).resolution.provider_selection == provider
