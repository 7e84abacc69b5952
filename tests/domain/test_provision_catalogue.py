"""The catalogue file: what is read from it, and what a launch can ask of it."""

from __future__ import annotations

import re

import pytest

from provision_service.catalogue.catalogue import Catalogue
from provision_service.catalogue.parse import parse_catalogue
from provision_service.domain.scope import Scope
from tests.domain.provision_launches import CATALOGUE, CATALOGUE_TEXT, edited


def parsed(*changes: tuple[str, str]) -> Catalogue:
    return parse_catalogue(edited(*changes), file="catalogue.yaml")


def test_the_version_is_the_files_label_and_a_digest_of_its_text() -> None:
    assert re.fullmatch(r"1\+[0-9a-f]{12}", CATALOGUE.version)
    assert parsed(('version: "1"', 'version: "2"')).version.startswith("2+")
    other = parsed(("display_name: Groq", "display_name: Groq Inc"))
    assert other.version != CATALOGUE.version
    again = parse_catalogue(CATALOGUE_TEXT, file="elsewhere.yaml")
    assert again.version == CATALOGUE.version


def test_a_provider_is_read_as_the_file_says() -> None:
    provider = CATALOGUE.providers["minimax"]
    assert provider.display_name == "MiniMax"
    assert provider.protocol == "openai"
    assert provider.auth_mode == "third_party_anthropic_compat"
    assert provider.auth_env == ("MINIMAX_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY")
    assert provider.auth_token_env == "ANTHROPIC_AUTH_TOKEN"
    assert provider.base_url == "https://api.minimax.io/v1"
    assert provider.anthropic_base_url == "https://api.minimax.io/anthropic/v1"
    assert provider.vendor == "minimax"
    assert provider.pattern == "(?i)^minimax-m"
    assert provider.aliases == ()
    assert not provider.is_platform


def test_a_runtime_is_read_as_the_file_says() -> None:
    runtime = CATALOGUE.runtimes["claude-code"]
    assert [provider.name for provider in runtime.providers] == [
        "anthropic-oauth", "anthropic-api", "kimi-coding", "minimax", "platform", "zai",
        "deepseek", "xiaomi-mimo",
    ]  # fmt: skip
    assert runtime.default_model == "sonnet"
    assert runtime.anthropic_native_proxy
    assert runtime.extra_model_env is None
    assert CATALOGUE.runtimes["hermes"].extra_model_env == "HERMES_DEFAULT_MODEL"
    assert not CATALOGUE.runtimes["hermes"].anthropic_native_proxy
    assert CATALOGUE.runtimes["openclaw"].default_model == "minimax:MiniMax-M2.7"
    assert CATALOGUE.runtimes["codex"].default_model is None


def test_runtimes_without_an_entry_are_known_by_kind() -> None:
    assert CATALOGUE.external_like == {"external", "kimi", "kimi-cli"}
    assert CATALOGUE.virtual == {"mock"}
    assert CATALOGUE.default_runtime == "claude-code"
    known = ["external", "kimi", "kimi-cli", "mock", "claude-code", "nope"]
    assert [CATALOGUE.has_no_entry_by_design(name) for name in known] == [
        True, True, True, True, False, False,
    ]  # fmt: skip


SINGLE_USE = {
    "ANTHROPIC_TOKEN", "DEEPINFRA_API_KEY",
    "AI_GATEWAY_API_KEY", "ALIBABA_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN",
    "ARCEEAI_API_KEY", "ARCEE_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "CODEX_ACCESS_TOKEN",
    "CODEX_API_KEY", "CODEX_AUTH_JSON",
    "CODEX_CHATGPT_AUTH_JSON", "CUSTOM_API_KEY", "DASHSCOPE_API_KEY", "DEEPSEEK_API_KEY",
    "GEMINI_API_KEY", "GLM_API_KEY", "HERMES_CUSTOM_API_KEY", "HF_TOKEN", "HUGGINGFACE_API_KEY",
    "KILOCODE_API_KEY", "KIMI_API_KEY", "KIMI_CN_API_KEY", "MINIMAX_API_KEY",
    "MINIMAX_CN_API_KEY", "MOLECULE_LLM_USAGE_TOKEN", "MOONSHOT_API_KEY", "NOUSRESEARCH_API_KEY",
    "NOUS_API_KEY", "OLLAMA_CLOUD_API_KEY", "OPENAI_API_KEY", "OPENCODE_GO_API_KEY",
    "OPENCODE_ZEN_API_KEY", "OPENROUTER_API_KEY", "XAI_API_KEY", "ZAI_API_KEY",
}  # fmt: skip
OWN_ENDPOINTS = {
    "hermes": {"OPENROUTER_BASE_URL", "CUSTOM_BASE_URL"},
    "google-adk": {"GOOGLE_GEMINI_BASE_URL", "GEMINI_API_BASE", "OPENAI_API_BASE"},
}
ENDPOINTS = {"OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "HERMES_CUSTOM_BASE_URL"}


@pytest.mark.parametrize(
    ("runtime", "dual_use"),
    [
        ("claude-code", set()),
        ("hermes", {"GOOGLE_API_KEY", "NVIDIA_API_KEY"}),
        ("codex", set()),
        ("openclaw", {"GROQ_API_KEY"}),
        ("google-adk", {"GOOGLE_API_KEY"}),
        ("no-such-runtime", set()),
    ],
)
def test_the_bypass_names_of_a_runtime(runtime: str, dual_use: set[str]) -> None:
    assert CATALOGUE.bypass_credentials(runtime) == SINGLE_USE | dual_use
    endpoints = ENDPOINTS | OWN_ENDPOINTS.get(runtime, set())
    assert CATALOGUE.bypass_names(runtime) == SINGLE_USE | dual_use | endpoints


def test_the_bypass_names_of_any_runtime_are_without_dual_use() -> None:
    assert CATALOGUE.bypass_names_of_any_runtime() == SINGLE_USE | ENDPOINTS


def test_bypass_names_follow_the_file() -> None:
    changed = parsed(
        ("    auth_env: [ARCEE_API_KEY]", "    auth_env: [BRAND_NEW_KEY]"),
        ("    - XAI_API_KEY\n", "    - YAI_API_KEY\n"),
    )
    expected = (SINGLE_USE - {"ARCEE_API_KEY", "XAI_API_KEY"}) | {"BRAND_NEW_KEY", "YAI_API_KEY"}
    assert changed.bypass_credentials("codex") == expected


@pytest.mark.parametrize(
    ("provider", "tenant_wide"),
    [
        ("anthropic-api", {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"}),
        ("byok-anthropic", {"ANTHROPIC_API_KEY"}),
        ("minimax", {"MINIMAX_API_KEY"}),
        ("kimi-coding", {"KIMI_API_KEY"}),
        ("zai", {"GLM_API_KEY"}),
        ("xiaomi-mimo", set()),
        ("openai-api", {"OPENAI_API_KEY"}),
    ],
)
def test_what_counts_tenant_wide(provider: str, tenant_wide: set[str]) -> None:
    found = CATALOGUE.providers[provider]
    assert CATALOGUE.accepted(found, Scope.GLOBAL) == tenant_wide
    assert CATALOGUE.accepted(found, Scope.WORKSPACE) == set(found.auth_env)


@pytest.mark.parametrize(
    ("url", "vendors"),
    [
        ("https://api.minimax.io/anything", {"minimax"}),
        ("https://API.anthropic.com:443", {"anthropic"}),
        ("https://api.z.ai", {"zai"}),
        ("https://generativelanguage.googleapis.com/x", {"google"}),
        ("https://gateway.tenant.test", set()),
        ("nonsense", set()),
        ("${PLATFORM_LLM_BASE_URL}", set()),
    ],
)
def test_an_endpoint_is_known_by_its_vendor(url: str, vendors: set[str]) -> None:
    assert CATALOGUE.vendors_at(url) == vendors


def test_a_withdrawn_model_is_marked_in_the_file() -> None:
    text = "          - {id: kimi-k2.5, withdrawn: true}\n"
    catalogue = parsed(("          - kimi-k2.5\n", text))
    offering = catalogue.runtimes["claude-code"].offerings[2]
    assert [(model.id, model.withdrawn) for model in offering.models] == [
        ("kimi-for-coding", False),
        ("kimi-k2.5", True),
        ("kimi-k2", False),
    ]
