"""Overrides against the derived provider, and models that were withdrawn."""

from __future__ import annotations

import pytest

from provision_service.catalogue.parse import parse_catalogue
from tests.domain.provision_launches import (
    PROXY,
    edited,
    environment,
    launch,
    message,
    reason,
    warnings,
)

PLATFORM_MODEL = "anthropic/claude-opus-4-7"
OAUTH = {"CLAUDE_CODE_OAUTH_TOKEN": "own"}
TWO_PATTERNS = parse_catalogue(
    edited(("    pattern: '^openai-api[:/]'", "    pattern: '^(openai-api[:/]|gpt-)'")),
    file="two-patterns.yaml",
)


def test_byok_by_override_over_an_ambiguous_model_launches_with_a_warning() -> None:
    own = {"OPENAI_API_KEY": "a", "CODEX_AUTH_JSON": "b"}
    decision = launch("codex", "gpt-9", catalogue=TWO_PATTERNS, override="byok", tenant=own)
    assert warnings(decision) == ["OVERRIDE_BYOK_OVER_UNDERIVABLE_MODEL"]
    assert {name: environment(decision)[name] for name in own} == own


def test_byok_by_override_needs_any_credential_of_the_runtimes_own_vendors() -> None:
    def decided(**secrets: dict[str, str]) -> str | None:
        decision = launch(model="brand-new", override="byok", **secrets)  # type: ignore[arg-type]
        return reason(decision)

    assert decided() == "MISSING_BYOK_CREDENTIAL"
    assert decided(tenant={"OPENAI_API_KEY": "k"}) == "MISSING_BYOK_CREDENTIAL"
    assert decided(tenant={"MINIMAX_API_KEY": "k"}) is None
    assert decided(workspace={"ANTHROPIC_AUTH_TOKEN": "k"}) is None
    assert decided(tenant={"ANTHROPIC_API_KEY": "k"}) is None


def test_byok_over_a_platform_model_needs_the_credential_of_the_vendors_own_id() -> None:
    def decided(**secrets: dict[str, str]) -> str | None:
        decision = launch(model=PLATFORM_MODEL, override="byok", **secrets)  # type: ignore[arg-type]
        return reason(decision)

    assert decided() == "MISSING_BYOK_CREDENTIAL"
    assert decided(tenant={"MINIMAX_API_KEY": "k"}) == "MISSING_BYOK_CREDENTIAL"
    assert decided(tenant={"ANTHROPIC_API_KEY": "k"}) is None
    assert decided(workspace={"ANTHROPIC_AUTH_TOKEN": "k"}) is None


@pytest.mark.parametrize(
    ("runtime", "model", "own", "vendors_id", "provider"),
    [
        ("claude-code", "minimax/MiniMax-M2.7", "MINIMAX_API_KEY", "MiniMax-M2.7", "minimax"),
        ("claude-code", "moonshot/kimi-k2.5", "KIMI_API_KEY", "kimi-k2.5", "kimi-coding"),
        ("hermes", "moonshot/kimi-k2.6", "KIMI_API_KEY", "kimi-k2.6", "kimi-coding"),
        ("codex", "openai/gpt-5.4", "OPENAI_API_KEY", "gpt-5.4", "openai-api"),
        ("codex", "openai/gpt-5.4", "CODEX_AUTH_JSON", "gpt-5.4", "openai-subscription"),
        ("openclaw", "moonshot/kimi-k2.6", "KIMI_API_KEY", "kimi-k2.6", "kimi-coding"),
        ("google-adk", "platform:gemini-2.5-pro", "GEMINI_API_KEY", "gemini-2.5-pro", "google"),
    ],
)
def test_byok_over_a_platform_model_resolves_the_vendors_own_id(
    runtime: str, model: str, own: str, vendors_id: str, provider: str
) -> None:
    decision = launch(runtime, model, override="byok", tenant={own: "own"})
    resolution = decision.resolution
    assert (resolution.effective_model, resolution.provider_selection) == (vendors_id, provider)
    assert environment(decision)["MODEL"] == vendors_id
    assert "model.vendors_own_id" in {step.rule for step in resolution.steps if step.fired}


def test_a_usage_token_is_no_credential_of_a_vendor() -> None:
    decision = launch(model=PLATFORM_MODEL, override="byok", platform=PROXY)
    assert message(decision) == (
        "provider anthropic-api: `claude-opus-4-7` needs ANTHROPIC_API_KEY (accepted:"
        " ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN); add ANTHROPIC_API_KEY"
    )


def test_byok_by_override_does_not_make_a_model_unnecessary() -> None:
    assert reason(launch(override="byok", tenant=OAUTH)) == "MODEL_REQUIRED"


def test_byok_by_override_does_not_make_a_runtime_known() -> None:
    assert reason(launch("nope", "opus", override="byok", tenant=OAUTH)) == "RUNTIME_UNKNOWN"


def test_platform_managed_by_override_over_a_vendor_model_is_allowed() -> None:
    decision = launch(model="opus", override="platform_managed", tenant=OAUTH)
    env = environment(decision)
    assert env["MOLECULE_RESOLVED_PROVIDER"] == "platform"
    assert env["ANTHROPIC_API_KEY"] == "usage-token-of-the-tenant"
    assert "CLAUDE_CODE_OAUTH_TOKEN" not in env


WITHDRAWN = parse_catalogue(
    edited(("          - kimi-k2.5\n", "          - id: kimi-k2.5\n            withdrawn: true\n")),
    file="withdrawn.yaml",
)
KIMI = {"KIMI_API_KEY": "own"}


def test_a_withdrawn_model_is_refused_at_create() -> None:
    decision = launch(model="kimi-k2.5", tenant=KIMI, catalogue=WITHDRAWN, at_create=True)
    assert reason(decision) == "MODEL_WITHDRAWN"
    assert message(decision) == (
        "`kimi-k2.5` is withdrawn and not given to new workspaces; with your KIMI_API_KEY use"
        " `kimi-k2`"
    )


def test_a_withdrawn_model_is_refused_before_a_missing_credential() -> None:
    decision = launch(model="kimi-k2.5", catalogue=WITHDRAWN, at_create=True)
    assert reason(decision) == "MODEL_WITHDRAWN"


def test_a_withdrawn_model_still_launches_with_a_warning() -> None:
    decision = launch(model="kimi-k2.5", tenant=KIMI, catalogue=WITHDRAWN)
    assert environment(decision)["MODEL"] == "kimi-k2.5"
    assert warnings(decision) == ["MODEL_WITHDRAWN"]


def test_a_model_on_the_menu_is_created() -> None:
    assert reason(launch(model="kimi-k2", tenant=KIMI, catalogue=WITHDRAWN, at_create=True)) is None


def test_disabled_creates_with_a_withdrawn_model() -> None:
    decision = launch(model="kimi-k2.5", override="disabled", catalogue=WITHDRAWN, at_create=True)
    assert reason(decision) is None
