"""Derivation: every menu of the facts as literal cases, and each sentence of the rule by itself."""

from __future__ import annotations

import pytest

from provision_service.catalogue.catalogue import Catalogue
from provision_service.catalogue.derivation import Derivation, PresentNames, derive
from provision_service.catalogue.parse import parse_catalogue
from tests.domain.provision_launches import CATALOGUE, edited

NOTHING = PresentNames.unscoped(frozenset())


def found(
    runtime: str,
    model: str,
    *names: str,
    workspace: tuple[str, ...] = (),
    catalogue: Catalogue = CATALOGUE,
) -> str:
    """The provider's name, or the reason there is none; `names` are present tenant-wide."""
    present = PresentNames(frozenset(workspace), frozenset(names) | frozenset(workspace))
    derivation = derive(catalogue, runtime=runtime, model=model, present=present)
    return outcome(derivation)


def outcome(derivation: Derivation) -> str:
    if derivation.provider is None:
        assert derivation.reason is not None
        return derivation.reason.value
    assert derivation.reason is None
    return derivation.provider.name


MENUS = [
    ("claude-code", "sonnet", "anthropic-oauth"),
    ("claude-code", "opus", "anthropic-oauth"),
    ("claude-code", "haiku", "anthropic-oauth"),
    ("claude-code", "anthropic:sonnet", "anthropic-oauth"),
    ("claude-code", "anthropic:opus", "anthropic-oauth"),
    ("claude-code", "anthropic:haiku", "anthropic-oauth"),
    ("claude-code", "claude-sonnet-4-6", "anthropic-api"),
    ("claude-code", "claude-opus-4-7", "anthropic-api"),
    ("claude-code", "claude-opus-4-8", "anthropic-api"),
    ("claude-code", "claude-haiku-4-5", "anthropic-api"),
    ("claude-code", "claude-sonnet-4-5", "anthropic-api"),
    ("claude-code", "anthropic:claude-sonnet-4-6", "anthropic-api"),
    ("claude-code", "anthropic:claude-opus-4-7", "anthropic-api"),
    ("claude-code", "anthropic:claude-opus-4-8", "anthropic-api"),
    ("claude-code", "anthropic:claude-haiku-4-5", "anthropic-api"),
    ("claude-code", "anthropic:claude-sonnet-4-5", "anthropic-api"),
    ("claude-code", "kimi-for-coding", "kimi-coding"),
    ("claude-code", "kimi-k2.5", "kimi-coding"),
    ("claude-code", "kimi-k2", "kimi-coding"),
    ("claude-code", "MiniMax-M2", "minimax"),
    ("claude-code", "MiniMax-M2.7", "minimax"),
    ("claude-code", "MiniMax-M2.7-highspeed", "minimax"),
    ("claude-code", "MiniMax-M3", "minimax"),
    ("claude-code", "anthropic/claude-opus-4-7", "platform"),
    ("claude-code", "anthropic/claude-opus-4-8", "platform"),
    ("claude-code", "anthropic/claude-sonnet-4-6", "platform"),
    ("claude-code", "moonshot/kimi-k2.6", "platform"),
    ("claude-code", "moonshot/kimi-k2.5", "platform"),
    ("claude-code", "minimax/MiniMax-M2.7", "platform"),
    ("claude-code", "minimax/MiniMax-M2.7-highspeed", "platform"),
    ("claude-code", "minimax/MiniMax-M3", "platform"),
    ("hermes", "kimi-coding/kimi-k2", "kimi-coding"),
    ("hermes", "moonshot/kimi-k2.6", "platform"),
    ("hermes", "moonshot/kimi-k2.5", "platform"),
    ("codex", "gpt-5.5", "openai-subscription"),
    ("codex", "gpt-5.4", "openai-subscription"),
    ("codex", "gpt-5.4-mini", "openai-subscription"),
    ("codex", "gpt-5.3-codex", "openai-subscription"),
    ("codex", "gpt-5.3-codex-spark", "openai-subscription"),
    ("codex", "gpt-5.2", "openai-subscription"),
    ("codex", "openai/gpt-5.4", "platform"),
    ("codex", "openai/gpt-5.4-mini", "platform"),
    ("openclaw", "moonshot:kimi-k2.6", "kimi-coding"),
    ("openclaw", "moonshot:kimi-k2.5", "kimi-coding"),
    ("openclaw", "moonshot/kimi-k2.6", "platform"),
    ("openclaw", "moonshot/kimi-k2.5", "platform"),
    ("google-adk", "platform:gemini-2.5-pro", "platform"),
    ("google-adk", "platform:gemini-2.5-flash", "platform"),
    ("google-adk", "gemini-2.5-pro", "google"),
    ("google-adk", "gemini-2.5-flash", "google"),
    ("google-adk", "google_genai:gemini-2.5-pro", "google"),
    ("google-adk", "google_genai:gemini-2.5-flash", "google"),
]


@pytest.mark.parametrize(("runtime", "model", "provider"), MENUS)
def test_a_model_on_a_menu_derives_its_provider_without_any_credential(
    runtime: str, model: str, provider: str
) -> None:
    assert found(runtime, model) == provider


def test_the_menus_of_the_facts_are_all_of_the_menus() -> None:
    shipped = {
        (runtime.name, model.id)
        for runtime in CATALOGUE.runtimes.values()
        for offering in runtime.offerings
        for model in offering.models
    }
    assert shipped == {(runtime, model) for runtime, model, _ in MENUS}


PATTERNS = [
    ("claude-code", "claude-haiku-9", "anthropic-api"),
    ("claude-code", "claude", "anthropic-api"),
    ("claude-code", "Claude-opus-4-7", "MODEL_UNREGISTERED"),
    ("claude-code", "opusplan", "MODEL_UNREGISTERED"),
    ("claude-code", "Opus", "MODEL_UNREGISTERED"),
    ("claude-code", "anthropic:claude-opus-9", "MODEL_UNREGISTERED"),
    ("claude-code", "anthropic/claude-opus-9", "MODEL_UNREGISTERED"),
    ("claude-code", "kimi-k9", "kimi-coding"),
    ("claude-code", "minimax-m9", "minimax"),
    ("claude-code", "MINIMAX-M9", "minimax"),
    ("claude-code", "codex-minimax-m2", "MODEL_UNREGISTERED"),
    ("claude-code", "minimax/MiniMax-M9", "MODEL_UNREGISTERED"),
    ("claude-code", "platform/anything", "platform"),
    ("claude-code", "platform:anything", "MODEL_UNREGISTERED"),
    ("claude-code", "GLM-4.6", "zai"),
    ("claude-code", "zai/glm-5", "zai"),
    ("claude-code", "zai-glm", "MODEL_UNREGISTERED"),
    ("claude-code", "deepseek-chat", "deepseek"),
    ("claude-code", "deepseek/v4", "deepseek"),
    ("claude-code", "DeepSeek-chat", "MODEL_UNREGISTERED"),
    ("claude-code", "mimo-v2", "xiaomi-mimo"),
    ("claude-code", "XIAOMI/mimo", "xiaomi-mimo"),
    ("claude-code", "gpt-5.5", "MODEL_UNREGISTERED"),
    ("claude-code", "gemini-2.5-pro", "MODEL_UNREGISTERED"),
    ("claude-code", "moonshot/kimi-k9", "MODEL_UNREGISTERED"),
    ("claude-code", "moonshot-v1", "MODEL_UNREGISTERED"),
    ("hermes", "kimi-for-coding", "kimi-coding"),
    ("hermes", "kimi-coding/kimi-k9", "kimi-coding"),
    ("hermes", "platform/x", "platform"),
    ("hermes", "openrouter/x/y", "openrouter"),
    ("hermes", "openrouter:x", "openrouter"),
    ("hermes", "huggingface/x", "huggingface"),
    ("hermes", "ai-gateway:x", "ai-gateway"),
    ("hermes", "opencode-zen/x", "opencode-zen"),
    ("hermes", "opencode-go/x", "opencode-go"),
    ("hermes", "kilocode/x", "kilocode"),
    ("hermes", "custom:my-model", "custom"),
    ("hermes", "nvidia/nemotron", "nvidia"),
    ("hermes", "arcee/x", "arcee"),
    ("hermes", "ollama-cloud/x", "ollama-cloud"),
    ("hermes", "ollama/llama3", "MODEL_UNREGISTERED"),
    ("hermes", "minimax-cn/x", "minimax-cn"),
    ("hermes", "minimax-cn:x", "minimax-cn"),
    ("hermes", "nousresearch/hermes-4", "nousresearch"),
    ("hermes", "deepseek:chat", "deepseek"),
    ("hermes", "glm-4.6", "zai"),
    ("hermes", "xiaomi:mimo", "xiaomi-mimo"),
    ("hermes", "Qwen3-max", "alibaba"),
    ("hermes", "alibaba/qwen", "alibaba"),
    ("hermes", "anthropic/claude-opus-4-7", "byok-anthropic"),
    ("hermes", "gemini/2.5-pro", "byok-gemini"),
    ("hermes", "gemini-2.5-pro", "MODEL_UNREGISTERED"),
    ("hermes", "openai/gpt-5.5", "byok-openai"),
    ("hermes", "openai:gpt-5.5", "byok-openai"),
    ("hermes", "MiniMax/M2", "byok-minimax"),
    ("hermes", "codex-minimax-m2", "byok-minimax"),
    ("hermes", "MiniMax-M2.7", "MODEL_UNREGISTERED"),
    ("hermes", "opus", "MODEL_UNREGISTERED"),
    ("hermes", "groq:x", "MODEL_UNREGISTERED"),
    ("codex", "gpt-9", "openai-subscription"),
    ("codex", "openai-api/gpt-9", "openai-api"),
    ("codex", "openai-api:gpt-9", "openai-api"),
    ("codex", "openai/gpt-9", "MODEL_UNREGISTERED"),
    ("codex", "codex-minimax-m2", "byok-minimax"),
    ("codex", "minimax:m2", "byok-minimax"),
    ("codex", "platform/x", "platform"),
    ("openclaw", "kimi-x", "kimi-coding"),
    ("openclaw", "moonshot:kimi-k9", "MODEL_UNREGISTERED"),
    ("openclaw", "minimax:MiniMax-M2.7", "byok-minimax"),
    ("openclaw", "openai:gpt-5", "byok-openai"),
    ("openclaw", "groq:llama", "groq"),
    ("openclaw", "groq/llama", "MODEL_UNREGISTERED"),
    ("openclaw", "openrouter/x", "openrouter"),
    ("openclaw", "custom/x", "custom"),
    ("google-adk", "gemini-9", "google"),
    ("google-adk", "google_genai:gemini-9", "MODEL_UNREGISTERED"),
    ("google-adk", "vertex:gemini", "MODEL_UNREGISTERED"),
    ("google-adk", "platform/gemini", "platform"),
    ("google-adk", "platform:gemini-9", "MODEL_UNREGISTERED"),
]


@pytest.mark.parametrize(("runtime", "model", "expected"), PATTERNS)
def test_a_model_off_the_menu_derives_by_pattern_of_the_own_providers_or_not_at_all(
    runtime: str, model: str, expected: str
) -> None:
    assert found(runtime, model) == expected


EVERY_CREDENTIAL = tuple(
    name for provider in CATALOGUE.providers.values() for name in provider.auth_env
)


@pytest.mark.parametrize(("runtime", "model", "expected"), PATTERNS)
def test_present_credentials_change_nothing_where_one_provider_matches(
    runtime: str, model: str, expected: str
) -> None:
    assert found(runtime, model, *EVERY_CREDENTIAL) == expected


@pytest.mark.parametrize(("runtime", "model"), [("claude-code", "opus"), ("codex", "gpt-5.5")])
def test_white_space_around_a_model_is_trimmed(runtime: str, model: str) -> None:
    assert found(runtime, f" \t{model}\n") == found(runtime, model)


@pytest.mark.parametrize("model", ["", " ", "\t\n "])
def test_an_empty_model_is_required(model: str) -> None:
    assert found("claude-code", model) == "MODEL_REQUIRED"


def test_an_empty_model_is_said_before_an_unknown_runtime() -> None:
    assert found("no-such-runtime", " ") == "MODEL_REQUIRED"


@pytest.mark.parametrize("runtime", ["", "Claude-Code", "langgraph", "external", "mock", "kimi"])
def test_a_runtime_without_an_entry_is_unknown(runtime: str) -> None:
    assert found(runtime, "opus") == "RUNTIME_UNKNOWN"


SHARED_MENU = [
    ((), (), "openai-subscription"),
    (("OPENAI_API_KEY",), (), "openai-api"),
    (("CODEX_AUTH_JSON",), (), "openai-subscription"),
    (("CODEX_CHATGPT_AUTH_JSON",), (), "openai-subscription"),
    (("OPENAI_API_KEY", "CODEX_AUTH_JSON"), (), "openai-subscription"),
    (("CODEX_AUTH_JSON",), ("OPENAI_API_KEY",), "openai-api"),
    (("OPENAI_API_KEY",), ("CODEX_AUTH_JSON",), "openai-subscription"),
    ((), ("OPENAI_API_KEY", "CODEX_AUTH_JSON"), "openai-subscription"),
    (("OPENAI_API_KEY",), ("ANTHROPIC_API_KEY",), "openai-api"),
    (("ANTHROPIC_API_KEY", "MINIMAX_API_KEY"), (), "openai-subscription"),
]


@pytest.mark.parametrize(("tenant", "workspace", "expected"), SHARED_MENU)
def test_a_model_on_two_menus_goes_by_workspace_names_then_by_all_then_by_order(
    tenant: tuple[str, ...], workspace: tuple[str, ...], expected: str
) -> None:
    assert found("codex", "gpt-5.5", *tenant, workspace=workspace) == expected


TWO_PATTERNS = parse_catalogue(
    edited(("    pattern: '^openai-api[:/]'", "    pattern: '^(openai-api[:/]|gpt-)'")),
    file="two-patterns.yaml",
)


@pytest.mark.parametrize(
    ("tenant", "workspace", "expected"),
    [
        ((), (), "PROVIDER_AMBIGUOUS"),
        (("OPENAI_API_KEY",), (), "openai-api"),
        (("CODEX_AUTH_JSON",), (), "openai-subscription"),
        ((), ("OPENAI_API_KEY",), "openai-api"),
        (("OPENAI_API_KEY", "CODEX_AUTH_JSON"), (), "PROVIDER_AMBIGUOUS"),
        # The workspace goes first for ids on a menu only: patterns are not guessed between.
        (("CODEX_AUTH_JSON",), ("OPENAI_API_KEY",), "PROVIDER_AMBIGUOUS"),
    ],
)
def test_several_patterns_need_a_single_provider_that_a_credential_meets(
    tenant: tuple[str, ...], workspace: tuple[str, ...], expected: str
) -> None:
    provider = found("codex", "gpt-9", *tenant, workspace=workspace, catalogue=TWO_PATTERNS)
    assert provider == expected


def test_an_id_on_a_menu_beats_every_pattern() -> None:
    assert found("claude-code", "anthropic:opus", "ANTHROPIC_API_KEY") == "anthropic-oauth"
    assert found("codex", "gpt-5.5", "OPENAI_API_KEY", catalogue=TWO_PATTERNS) == "openai-api"


def test_a_pattern_is_searched_unanchored() -> None:
    loose = parse_catalogue(
        edited(("    pattern: '^gpt-'", "    pattern: 'gpt-'")), file="loose.yaml"
    )
    assert found("codex", "my-gpt-9", catalogue=loose) == "openai-subscription"
    assert found("codex", "my-gpt-9") == "MODEL_UNREGISTERED"


def test_it_never_falls_through_to_the_whole_catalogue() -> None:
    assert found("claude-code", "openrouter/x", "OPENROUTER_API_KEY") == "MODEL_UNREGISTERED"
    assert found("google-adk", "groq:x", workspace=("GROQ_API_KEY",)) == "MODEL_UNREGISTERED"


WITHDRAWN = parse_catalogue(
    edited(("          - kimi-k2.5\n", "          - id: kimi-k2.5\n            withdrawn: true\n")),
    file="withdrawn.yaml",
)


def test_a_withdrawn_model_still_derives_and_says_so() -> None:
    derivation = derive(WITHDRAWN, runtime="claude-code", model="kimi-k2.5", present=NOTHING)
    assert outcome(derivation) == "kimi-coding"
    assert derivation.withdrawn


def test_a_model_on_the_menu_is_not_withdrawn() -> None:
    derivation = derive(WITHDRAWN, runtime="claude-code", model="kimi-k2", present=NOTHING)
    assert not derivation.withdrawn


def test_the_steps_name_each_rule_that_was_asked_and_the_names_it_saw() -> None:
    present = PresentNames(frozenset({"OPENAI_API_KEY"}), frozenset({"OPENAI_API_KEY"}))
    derivation = derive(CATALOGUE, runtime="codex", model="gpt-5.5", present=present)
    assert [(step.rule, step.fired, step.inputs) for step in derivation.steps] == [
        ("derivation.model_required", False, ("gpt-5.5",)),
        ("derivation.runtime_unknown", False, ("codex",)),
        ("derivation.exact", True, ("gpt-5.5",)),
        ("derivation.tie_workspace_credential", True, ("OPENAI_API_KEY",)),
    ]


def test_the_steps_of_a_tie_that_nothing_breaks_end_with_the_first_declared() -> None:
    derivation = derive(CATALOGUE, runtime="codex", model="gpt-5.5", present=NOTHING)
    assert [(step.rule, step.fired) for step in derivation.steps][2:] == [
        ("derivation.exact", True),
        ("derivation.tie_workspace_credential", False),
        ("derivation.tie_any_credential", False),
        ("derivation.tie_first_declared", True),
    ]


def test_the_candidates_of_an_ambiguous_model_are_named() -> None:
    derivation = derive(TWO_PATTERNS, runtime="codex", model="gpt-9", present=NOTHING)
    assert [p.name for p in derivation.candidates] == ["openai-subscription", "openai-api"]
