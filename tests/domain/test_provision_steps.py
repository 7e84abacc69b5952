"""The steps of a resolution, word for word: the answer to "why does this workspace pay"."""

from __future__ import annotations

import pytest

from provision_service.catalogue.derivation import PresentNames
from provision_service.catalogue.parse import parse_catalogue
from provision_service.domain.decision import Decision
from tests.domain.provision_launches import edited, launch

BY_PLATFORM = "a model of the platform's own provider is the platform's bill"
BY_VENDOR = "a model of any other provider is the bill of the tenant's own key"
BY_DEFAULT = "a model that nothing derives resolves as platform_managed, and does not launch so"

TWO_PATTERNS = parse_catalogue(
    edited(("    pattern: '^openai-api[:/]'", "    pattern: '^(openai-api[:/]|gpt-)'")),
    file="two-patterns.yaml",
)


def told(decision: Decision, of: str) -> list[str]:
    """The steps whose rule starts with `of`: whether it fired, on what, and its text."""
    return [
        f"{'yes' if step.fired else 'no'} {step.rule} [{', '.join(step.inputs)}] {step.text}"
        for step in decision.resolution.steps
        if step.rule.startswith(of)
    ]


def test_the_credentials_of_a_step_are_named_in_one_order_whatever_was_stored_first() -> None:
    three = {"OPENAI_API_KEY": "a", "CODEX_CHATGPT_AUTH_JSON": "b", "CODEX_AUTH_JSON": "c"}
    decision = launch("codex", "gpt-5.5", workspace=three)
    assert told(decision, "derivation.tie_workspace_credential") == [
        (
            "no derivation.tie_workspace_credential"
            " [CODEX_AUTH_JSON, CODEX_CHATGPT_AUTH_JSON, OPENAI_API_KEY]"
            " these credentials single nothing out"
        )
    ]


def test_a_tie_that_nothing_breaks() -> None:
    assert told(launch("codex", "gpt-5.5"), "derivation.") == [
        "no derivation.model_required [gpt-5.5] there is a model id",
        "no derivation.runtime_unknown [codex] runtime `codex` is in the catalogue",
        "yes derivation.exact [gpt-5.5] listed by openai-subscription, openai-api",
        "no derivation.tie_workspace_credential [] these credentials single nothing out",
        "no derivation.tie_any_credential [] these credentials single nothing out",
        (
            "yes derivation.tie_first_declared [openai-subscription]"
            " no credential decides, and openai-subscription is declared first"
        ),
    ]


def test_a_tie_that_a_credential_of_the_workspace_breaks() -> None:
    decision = launch("codex", "gpt-5.5", workspace={"OPENAI_API_KEY": "own", "KIMI_API_KEY": "k"})
    assert told(decision, "derivation.tie") == [
        (
            "yes derivation.tie_workspace_credential [OPENAI_API_KEY]"
            " only openai-api accepts a credential that is there"
        ),
    ]


def test_a_tie_that_a_tenant_wide_credential_breaks() -> None:
    decision = launch("codex", "gpt-5.5", tenant={"OPENAI_API_KEY": "own"})
    assert told(decision, "derivation.tie") == [
        "no derivation.tie_workspace_credential [] these credentials single nothing out",
        (
            "yes derivation.tie_any_credential [OPENAI_API_KEY]"
            " only openai-api accepts a credential that is there"
        ),
    ]


def test_credentials_of_both_candidates_are_named_in_order() -> None:
    both = {"OPENAI_API_KEY": "own", "CODEX_AUTH_JSON": "{}"}
    assert told(launch("codex", "gpt-5.5", workspace=both), "derivation.tie_workspace") == [
        (
            "no derivation.tie_workspace_credential [CODEX_AUTH_JSON, OPENAI_API_KEY]"
            " these credentials single nothing out"
        ),
    ]


def test_every_credential_that_is_there_is_named_in_order() -> None:
    glm_twice = parse_catalogue(
        edited(("    pattern: '^deepseek[-:/]'", "    pattern: '^(deepseek[-:/]|glm-)'")),
        file="glm-twice.yaml",
    )
    four = dict.fromkeys(
        ["GLM_API_KEY", "DEEPSEEK_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"], "own"
    )
    decision = launch("claude-code", "glm-5", workspace=four, catalogue=glm_twice)
    assert told(decision, "derivation.pattern_tie") == [
        (
            "no derivation.pattern_tie_credential"
            " [ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, DEEPSEEK_API_KEY, GLM_API_KEY]"
            " these credentials single nothing out"
        ),
    ]


def test_no_model() -> None:
    assert told(launch("claude-code"), "derivation.") == [
        "yes derivation.model_required [] there is no model id",
    ]


def test_an_unknown_runtime() -> None:
    assert told(launch("nope", "opus"), "derivation.") == [
        "no derivation.model_required [opus] there is a model id",
        "yes derivation.runtime_unknown [nope] runtime `nope` is not in the catalogue",
    ]


def test_one_pattern() -> None:
    assert told(launch("claude-code", "claude-haiku-9"), "derivation.")[2:] == [
        "no derivation.exact [claude-haiku-9] listed by none of the runtime's providers",
        "yes derivation.pattern [claude-haiku-9] matched by the pattern of anthropic-api",
    ]


def test_no_pattern() -> None:
    assert told(launch("claude-code", "zzz"), "derivation.")[2:] == [
        "no derivation.exact [zzz] listed by none of the runtime's providers",
        "no derivation.pattern [zzz] matched by the pattern of none of the runtime's providers",
    ]


def test_two_patterns_of_which_a_credential_chooses() -> None:
    decision = launch("codex", "gpt-9", tenant={"OPENAI_API_KEY": "own"}, catalogue=TWO_PATTERNS)
    assert decision.resolution.provider_selection == "openai-api"
    assert told(decision, "derivation.")[2:] == [
        "no derivation.exact [gpt-9] listed by none of the runtime's providers",
        "yes derivation.pattern [gpt-9] matched by the pattern of openai-subscription, openai-api",
        (
            "yes derivation.pattern_tie_credential [OPENAI_API_KEY]"
            " only openai-api accepts a credential that is there"
        ),
    ]


def test_two_patterns_between_which_nothing_chooses() -> None:
    decision = launch("codex", "gpt-9", catalogue=TWO_PATTERNS)
    assert told(decision, "derivation.pattern_tie") == [
        "no derivation.pattern_tie_credential [] these credentials single nothing out",
    ]


@pytest.mark.parametrize(
    ("model", "override", "steps"),
    [
        (
            "opus",
            "",
            [
                "no mode.override [] no override is stored",
                f"no mode.derived_platform [anthropic-oauth] {BY_PLATFORM}",
                f"yes mode.derived_vendor [anthropic-oauth] {BY_VENDOR}",
                f"no mode.default [] {BY_DEFAULT}",
            ],
        ),
        (
            "anthropic/claude-opus-4-7",
            "",
            [
                "no mode.override [] no override is stored",
                f"yes mode.derived_platform [platform] {BY_PLATFORM}",
                f"no mode.derived_vendor [platform] {BY_VENDOR}",
                f"no mode.default [] {BY_DEFAULT}",
            ],
        ),
        (
            "zzz",
            "zap",
            [
                "no mode.override [zap] the stored override is no known mode: ignored",
                f"no mode.derived_platform [] {BY_PLATFORM}",
                f"no mode.derived_vendor [] {BY_VENDOR}",
                f"yes mode.default [MODEL_UNREGISTERED] {BY_DEFAULT}",
            ],
        ),
        (
            "opus",
            "platform_managed",
            [
                "yes mode.override [platform_managed] the override says platform_managed",
                f"no mode.derived_platform [anthropic-oauth] {BY_PLATFORM}",
                f"no mode.derived_vendor [anthropic-oauth] {BY_VENDOR}",
                f"no mode.default [] {BY_DEFAULT}",
            ],
        ),
    ],
)
def test_the_mode(model: str, override: str, steps: list[str]) -> None:
    assert told(launch(model=model, override=override), "mode.") == steps


def test_a_runtime_without_an_entry() -> None:
    rule = "yes runtime.without_catalogue_entry [external]"
    nothing = "runtime `external` brings its own model or none: there is no LLM to bill here"
    assert told(launch("external"), "runtime.") == [f"{rule} {nothing}"]
    assert told(launch("external", override="byok"), "runtime.") == [
        f"{rule} {nothing}; the stored override `byok` has no effect",
    ]


def test_the_model_by_its_rungs() -> None:
    decision = launch(model=" opus ", tenant={"MODEL": "sonnet"}, workspace={"MOLECULE_MODEL": " "})
    assert told(decision, "model.") == [
        "no model.request [] absent or blank",
        "yes model.spec [] the model is `opus`",
        "no model.secret:MOLECULE_MODEL [MOLECULE_MODEL@workspace] absent or blank",
        "no model.secret:MODEL [MODEL@global] set, but an earlier source wins",
    ]


def test_names_without_a_scope_count_as_the_workspaces_own() -> None:
    names = frozenset({"OPENAI_API_KEY"})
    assert PresentNames.unscoped(names) == PresentNames(workspace=names, everywhere=names)
