"""Every provider and every closed name of the shipped catalogue, as the facts have them."""

from __future__ import annotations

import pytest

from tests.domain.provision_launches import CATALOGUE

VERTEX = (
    "https://{location}-aiplatform.googleapis.com/v1beta1/projects/{project}"
    "/locations/{location}/endpoints/openapi"
)
# name, protocol, auth_mode, auth_env, auth_token_env, base_url, anthropic_base_url, pattern
PROVIDERS = [
    ("anthropic-api", "anthropic", "anthropic_api", "ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN",
     "ANTHROPIC_API_KEY", "https://api.anthropic.com/v1", "https://api.anthropic.com/v1",
     "^claude"),
    ("anthropic-oauth", "anthropic", "oauth", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN",
     None, None, "^(sonnet|opus|haiku)$"),
    ("openai-subscription", "openai", "oauth", "CODEX_AUTH_JSON CODEX_CHATGPT_AUTH_JSON",
     "CODEX_AUTH_JSON", None, None, "^gpt-"),
    ("openai-api", "openai", "anthropic_api", "OPENAI_API_KEY", "OPENAI_API_KEY",
     "https://api.openai.com/v1", None, "^openai-api[:/]"),
    ("moonshot", "openai", "third_party_anthropic_compat", "MOONSHOT_API_KEY KIMI_API_KEY",
     "ANTHROPIC_API_KEY", "https://api.moonshot.ai/v1", "https://api.moonshot.ai/anthropic/v1",
     "^moonshot[:/-]"),
    ("minimax", "openai", "third_party_anthropic_compat",
     "MINIMAX_API_KEY ANTHROPIC_AUTH_TOKEN ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN",
     "https://api.minimax.io/v1", "https://api.minimax.io/anthropic/v1", "(?i)^minimax-m"),
    ("platform", "anthropic", "third_party_anthropic_compat", "MOLECULE_LLM_USAGE_TOKEN",
     "ANTHROPIC_API_KEY", "${PLATFORM_LLM_BASE_URL}", "${PLATFORM_LLM_ANTHROPIC_BASE_URL}",
     "^platform/"),
    ("xiaomi-mimo", "anthropic", "third_party_anthropic_compat",
     "ANTHROPIC_AUTH_TOKEN ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN",
     "https://api.xiaomimimo.com/anthropic", "https://api.xiaomimimo.com/anthropic",
     "(?i)^(mimo-|xiaomi[:/])"),
    ("zai", "anthropic", "third_party_anthropic_compat",
     "GLM_API_KEY ANTHROPIC_AUTH_TOKEN ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN",
     "https://api.z.ai/api/anthropic", "https://api.z.ai/api/anthropic", "(?i)^(glm-|zai[:/])"),
    ("kimi-coding", "anthropic", "third_party_anthropic_compat",
     "KIMI_API_KEY ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY",
     "https://api.kimi.com/coding/v1", "https://api.kimi.com/coding/v1", "^kimi-"),
    ("deepseek", "anthropic", "third_party_anthropic_compat",
     "DEEPSEEK_API_KEY ANTHROPIC_AUTH_TOKEN ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN",
     "https://api.deepseek.com/anthropic", "https://api.deepseek.com/anthropic", "^deepseek[-:/]"),
    ("google", "openai", "third_party_anthropic_compat", "GEMINI_API_KEY GOOGLE_API_KEY",
     "ANTHROPIC_AUTH_TOKEN", "https://generativelanguage.googleapis.com/v1beta/openai", None,
     "^gemini-"),
    ("vertex", "openai", "wif_adc", "GOOGLE_APPLICATION_CREDENTIALS", "ANTHROPIC_AUTH_TOKEN",
     VERTEX, None, "^vertex:"),
    ("alibaba", "openai", "third_party_anthropic_compat", "DASHSCOPE_API_KEY ALIBABA_API_KEY",
     "ANTHROPIC_AUTH_TOKEN", None, None, "(?i)^(qwen|alibaba[:/])"),
    ("nousresearch", "openai", "third_party_anthropic_compat", "NOUSRESEARCH_API_KEY",
     "ANTHROPIC_AUTH_TOKEN", None, None, "^nousresearch[:/]"),
    ("openrouter", "openai", "third_party_anthropic_compat", "OPENROUTER_API_KEY",
     "ANTHROPIC_AUTH_TOKEN", "https://openrouter.ai/api/v1", None, "^openrouter[:/]"),
    ("huggingface", "openai", "third_party_anthropic_compat", "HUGGINGFACE_API_KEY HF_TOKEN",
     "ANTHROPIC_AUTH_TOKEN", None, None, "^huggingface[:/]"),
    ("ai-gateway", "openai", "third_party_anthropic_compat", "AI_GATEWAY_API_KEY",
     "ANTHROPIC_AUTH_TOKEN", None, None, "^ai-gateway[:/]"),
    ("opencode-zen", "openai", "third_party_anthropic_compat", "OPENCODE_ZEN_API_KEY",
     "ANTHROPIC_AUTH_TOKEN", None, None, "^opencode-zen[:/]"),
    ("opencode-go", "openai", "third_party_anthropic_compat", "OPENCODE_GO_API_KEY",
     "ANTHROPIC_AUTH_TOKEN", None, None, "^opencode-go[:/]"),
    ("kilocode", "openai", "third_party_anthropic_compat", "KILOCODE_API_KEY",
     "ANTHROPIC_AUTH_TOKEN", None, None, "^kilocode[:/]"),
    ("minimax-cn", "openai", "third_party_anthropic_compat",
     "MINIMAX_API_KEY ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN", "https://api.minimaxi.com/v1",
     "https://api.minimaxi.com/anthropic", "^minimax-cn[:/]"),
    ("ollama-cloud", "openai", "third_party_anthropic_compat", "OLLAMA_CLOUD_API_KEY",
     "ANTHROPIC_AUTH_TOKEN", None, None, "^ollama-cloud[:/]"),
    ("ollama", "openai", "third_party_anthropic_compat", "OLLAMA_HOST", "ANTHROPIC_AUTH_TOKEN",
     "http://localhost:11434/v1", None, "^ollama/"),
    ("nvidia", "openai", "third_party_anthropic_compat", "NVIDIA_API_KEY", "ANTHROPIC_AUTH_TOKEN",
     "https://integrate.api.nvidia.com/v1", None, "^nvidia[:/]"),
    ("arcee", "openai", "third_party_anthropic_compat", "ARCEE_API_KEY", "ANTHROPIC_AUTH_TOKEN",
     None, None, "^arcee[:/]"),
    ("custom", "openai", "third_party_anthropic_compat", "CUSTOM_API_KEY OPENAI_API_KEY",
     "ANTHROPIC_AUTH_TOKEN", None, None, "^custom[:/]"),
    ("byok-anthropic", "anthropic", "anthropic_api", "ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY",
     "https://api.anthropic.com/v1", "https://api.anthropic.com/v1", "^anthropic/"),
    ("byok-openai", "openai", "anthropic_api", "OPENAI_API_KEY", "OPENAI_API_KEY",
     "https://api.openai.com/v1", None, "^openai[:/]"),
    ("byok-gemini", "openai", "third_party_anthropic_compat", "GEMINI_API_KEY GOOGLE_API_KEY",
     "ANTHROPIC_AUTH_TOKEN", "https://generativelanguage.googleapis.com/v1beta/openai", None,
     "^gemini/"),
    ("byok-minimax", "openai", "third_party_anthropic_compat", "MINIMAX_API_KEY",
     "ANTHROPIC_AUTH_TOKEN", "https://api.minimax.io/v1", None,
     "(?i)^(minimax[:/]|codex-minimax-)"),
    ("groq", "openai", "third_party_anthropic_compat", "GROQ_API_KEY", "ANTHROPIC_AUTH_TOKEN",
     "https://api.groq.com/openai/v1", None, "^groq:"),
]  # fmt: skip


@pytest.mark.parametrize("row", PROVIDERS, ids=[str(row[0]) for row in PROVIDERS])
def test_a_provider_is_as_the_facts_have_it(row: tuple[str | None, ...]) -> None:
    provider = CATALOGUE.providers[str(row[0])]
    assert row == (
        provider.name,
        provider.protocol.value,
        provider.auth_mode.value,
        " ".join(provider.auth_env),
        provider.auth_token_env,
        provider.base_url,
        provider.anthropic_base_url,
        provider.pattern,
    )


def test_there_is_no_other_provider() -> None:
    assert list(CATALOGUE.providers) == [row[0] for row in PROVIDERS]


def test_the_providers_of_each_runtime_stand_in_their_order() -> None:
    shown = {
        name: " ".join(provider.name for provider in runtime.providers)
        for name, runtime in CATALOGUE.runtimes.items()
    }
    assert shown == {
        "claude-code": (
            "anthropic-oauth anthropic-api kimi-coding minimax platform zai deepseek xiaomi-mimo"
        ),
        "hermes": (
            "kimi-coding platform openrouter huggingface ai-gateway opencode-zen "
            "opencode-go kilocode custom nvidia arcee ollama-cloud minimax-cn nousresearch "
            "deepseek zai xiaomi-mimo alibaba byok-anthropic byok-gemini byok-openai "
            "byok-minimax"
        ),
        "codex": "openai-subscription openai-api platform byok-minimax",
        "openclaw": "kimi-coding platform openrouter custom byok-openai byok-minimax groq",
        "google-adk": "platform google",
    }


def test_the_names_that_are_closed_retired_or_dual_are_those_of_the_facts() -> None:
    names = CATALOGUE.names
    assert sorted(names.forbidden) == [
        "ADMIN_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "BITBUCKET_TOKEN",
        "CP_ADMIN_API_TOKEN",
        "CP_ADMIN_TOKEN",
        "CP_PROMOTE_PROD_API_TOKEN",
        "GHCR_PULL_TOKEN",
        "GH_TOKEN",
        "GITEA_PAT",
        "GITEA_TOKEN",
        "GITHUB_PAT",
        "GITHUB_TOKEN",
        "GITLAB_TOKEN",
        "GL_TOKEN",
        "HETZNER_API_TOKEN",
        "HETZNER_TOKEN",
        "INFISICAL_BOOTSTRAP_TOKEN",
        "INFISICAL_CLIENT_ID",
        "INFISICAL_CLIENT_SECRET",
        "INFISICAL_OPERATOR_TOKEN",
        "MOLECULE_ADMIN_TOKEN",
        "MOLECULE_CP_SHARED_SECRET",
        "MOLECULE_TEMPLATE_REPO_TOKEN",
        "PROVISION_SHARED_SECRET",
        "RAILWAY_PERSONAL_API_TOKEN",
        "RAILWAY_TOKEN",
        "SECRETS_ENCRYPTION_KEY",
    ]
    assert names.forbidden_prefixes == ("MOLECULE_OPERATOR_",)
    assert sorted(names.source_host_tokens) == [
        "BITBUCKET_TOKEN", "GH_TOKEN", "GITEA_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN", "GL_TOKEN",
    ]  # fmt: skip
    assert names.retired == {"LLM_PROVIDER", "MODEL_PROVIDER"}
    assert names.endpoints == {"OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "HERMES_CUSTOM_BASE_URL"}
    assert names.dual_use == {
        "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_API_KEY", "OLLAMA_HOST", "NVIDIA_API_KEY",
        "GROQ_API_KEY",
    }  # fmt: skip
    assert names.shared == {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"}
    assert names.shared_accepted_globally_by == {"anthropic-api", "byok-anthropic"}
