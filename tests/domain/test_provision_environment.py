"""The environment table of the design, cell by cell."""

from __future__ import annotations

import pytest

from agentworkspace.core.secret import Secret
from provision_service.domain.platform_proxy import PlatformProxy
from tests.domain.provision_launches import (
    WORKSPACE,
    environment,
    launch,
    reason,
    removed,
    table,
)

PLATFORM_MODEL = "anthropic/claude-opus-4-7"
OAUTH = {"CLAUDE_CODE_OAUTH_TOKEN": "own-oauth"}


def test_platform_managed_claude_code_gets_exactly_this() -> None:
    assert table(launch(model=PLATFORM_MODEL, tenant={"GREETING": "hello"})) == {
        "MOLECULE_LLM_BILLING_MODE": "platform_managed",
        "MOLECULE_LLM_BILLING_MODE_RESOLVED": "platform_managed",
        "MOLECULE_RESOLVED_PROVIDER": "platform",
        "MODEL": PLATFORM_MODEL,
        "MOLECULE_MODEL": PLATFORM_MODEL,
        "MOLECULE_LLM_BASE_URL": "https://llm.platform.test/openai/v1",
        "MOLECULE_LLM_USAGE_TOKEN": "usage-token-of-the-tenant",
        "MOLECULE_LLM_ANTHROPIC_BASE_URL": "https://llm.platform.test/anthropic",
        "MOLECULE_LLM_USAGE_URL": "https://llm.platform.test/usage",
        "ANTHROPIC_API_KEY": "usage-token-of-the-tenant",
        "ANTHROPIC_BASE_URL": "https://llm.platform.test/anthropic",
        "ANTHROPIC_CUSTOM_HEADERS": f"X-Molecule-Workspace-Id: {WORKSPACE}",
        "GREETING": "hello",
    }


@pytest.mark.parametrize(
    ("runtime", "model"),
    [
        ("hermes", "moonshot/kimi-k2.6"),
        ("codex", "openai/gpt-5.4"),
        ("openclaw", "moonshot/kimi-k2.5"),
        ("google-adk", "platform:gemini-2.5-pro"),
    ],
)
def test_platform_managed_other_runtimes_get_exactly_this(runtime: str, model: str) -> None:
    expected = {
        "MOLECULE_LLM_BILLING_MODE": "platform_managed",
        "MOLECULE_LLM_BILLING_MODE_RESOLVED": "platform_managed",
        "MOLECULE_RESOLVED_PROVIDER": "platform",
        "MODEL": model,
        "MOLECULE_MODEL": model,
        "MOLECULE_LLM_BASE_URL": "https://llm.platform.test/openai/v1",
        "MOLECULE_LLM_USAGE_TOKEN": "usage-token-of-the-tenant",
        "MOLECULE_LLM_ANTHROPIC_BASE_URL": "https://llm.platform.test/anthropic",
        "MOLECULE_LLM_USAGE_URL": "https://llm.platform.test/usage",
        "OPENAI_API_KEY": "usage-token-of-the-tenant",
        "OPENAI_BASE_URL": "https://llm.platform.test/openai/v1",
    }
    if runtime == "hermes":
        expected["HERMES_DEFAULT_MODEL"] = model
    if runtime in ("hermes", "openclaw"):
        # One takes it for OpenRouter's, the other also asks OpenAI with it.
        del expected["OPENAI_API_KEY"]
    assert table(launch(runtime, model)) == expected


def test_byok_by_oauth_gets_exactly_this() -> None:
    assert table(launch(model="opus", workspace=OAUTH)) == {
        "MOLECULE_LLM_BILLING_MODE": "byok",
        "MOLECULE_LLM_BILLING_MODE_RESOLVED": "byok",
        "MOLECULE_RESOLVED_PROVIDER": "anthropic-oauth",
        "MODEL": "opus",
        "MOLECULE_MODEL": "opus",
        "CLAUDE_CODE_OAUTH_TOKEN": "own-oauth",
    }


def test_byok_of_another_runtime_gets_exactly_the_tenants_own() -> None:
    own = {"OPENAI_API_KEY": "own-key", "OPENAI_BASE_URL": "https://llm.tenant.test/v1"}
    assert table(launch("codex", "openai-api/gpt-9", workspace=own)) == {
        "MOLECULE_LLM_BILLING_MODE": "byok",
        "MOLECULE_LLM_BILLING_MODE_RESOLVED": "byok",
        "MOLECULE_RESOLVED_PROVIDER": "openai-api",
        "MODEL": "openai-api/gpt-9",
        "MOLECULE_MODEL": "openai-api/gpt-9",
        "OPENAI_API_KEY": "own-key",
        "OPENAI_BASE_URL": "https://llm.tenant.test/v1",
    }


def test_disabled_gets_exactly_this() -> None:
    secrets = {"CLAUDE_CODE_OAUTH_TOKEN": "own", "OPENAI_BASE_URL": "https://llm.tenant.test/v1"}
    decision = launch(model="opus", override="disabled", tenant={**secrets, "GREETING": "hello"})
    assert environment(decision) == {
        "MOLECULE_LLM_BILLING_MODE": "disabled",
        "MOLECULE_LLM_BILLING_MODE_RESOLVED": "disabled",
        "MODEL": "opus",
        "MOLECULE_MODEL": "opus",
        "OPENAI_BASE_URL": "https://llm.tenant.test/v1",
        "GREETING": "hello",
    }


@pytest.mark.parametrize("scope", ["tenant", "workspace"])
@pytest.mark.parametrize(
    "name", ["OPENROUTER_API_KEY", "ANTHROPIC_API_KEY", "XAI_API_KEY", "CODEX_API_KEY"]
)
def test_disabled_by_override_removes_a_credential_of_any_vendor_at_every_scope(
    name: str, scope: str
) -> None:
    own = {name: "own"}
    tenant, workspace = (own, None) if scope == "tenant" else (None, own)
    decision = launch(model="opus", override="disabled", tenant=tenant, workspace=workspace)
    assert name not in environment(decision)
    assert removed(decision) == {name: "the billing override says that there is no LLM here"}


@pytest.mark.parametrize("runtime", ["external", "mock"])
def test_a_runtime_that_brings_its_own_model_keeps_its_credentials(runtime: str) -> None:
    decision = launch(runtime, workspace={"OPENROUTER_API_KEY": "own"})
    assert environment(decision)["OPENROUTER_API_KEY"] == "own"
    assert removed(decision) == {}


def test_disabled_without_a_model_sets_none() -> None:
    assert environment(launch(override="disabled")) == {
        "MOLECULE_LLM_BILLING_MODE": "disabled",
        "MOLECULE_LLM_BILLING_MODE_RESOLVED": "disabled",
    }


def test_a_blank_model_secret_sets_no_model() -> None:
    env = environment(launch(override="disabled", tenant={"MODEL": " ", "MOLECULE_MODEL": "\n"}))
    assert env.keys() == {"MOLECULE_LLM_BILLING_MODE", "MOLECULE_LLM_BILLING_MODE_RESOLVED"}


@pytest.mark.parametrize(
    ("model", "override", "tenant"),
    [
        ("moonshot/kimi-k2.6", "", {}),
        ("openrouter/x", "", {"OPENROUTER_API_KEY": "k"}),
        ("openrouter/x", "disabled", {}),
    ],
)
def test_hermes_also_gets_its_own_model_name(
    model: str, override: str, tenant: dict[str, str]
) -> None:
    env = environment(launch("hermes", model, override=override, tenant=tenant))
    assert env["HERMES_DEFAULT_MODEL"] == env["MODEL"] == env["MOLECULE_MODEL"] == model


def test_other_runtimes_do_not_get_the_model_name_of_hermes() -> None:
    assert "HERMES_DEFAULT_MODEL" not in environment(launch(model=PLATFORM_MODEL))


@pytest.mark.parametrize("scope", ["tenant", "workspace"])
@pytest.mark.parametrize(
    "name",
    [
        "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "CODEX_AUTH_JSON", "MINIMAX_API_KEY",
        "CODEX_CHATGPT_AUTH_JSON", "OPENAI_API_KEY", "MOONSHOT_API_KEY", "KIMI_API_KEY",
        "GLM_API_KEY", "DEEPSEEK_API_KEY", "GEMINI_API_KEY", "DASHSCOPE_API_KEY",
        "ALIBABA_API_KEY", "NOUSRESEARCH_API_KEY", "OPENROUTER_API_KEY", "HUGGINGFACE_API_KEY",
        "HF_TOKEN", "AI_GATEWAY_API_KEY", "OPENCODE_ZEN_API_KEY", "OPENCODE_GO_API_KEY",
        "KILOCODE_API_KEY", "OLLAMA_CLOUD_API_KEY", "ARCEE_API_KEY", "CUSTOM_API_KEY",
        "ARCEEAI_API_KEY", "HERMES_CUSTOM_API_KEY", "KIMI_CN_API_KEY", "MINIMAX_CN_API_KEY",
        "NOUS_API_KEY", "XAI_API_KEY", "ZAI_API_KEY",
        "OPENAI_BASE_URL", "HERMES_CUSTOM_BASE_URL",
    ],
)  # fmt: skip
def test_platform_managed_removes_every_bypass_name_at_every_scope(name: str, scope: str) -> None:
    value = {name: "https://elsewhere.test"}
    tenant, workspace = (value, None) if scope == "tenant" else (None, value)
    decision = launch(model=PLATFORM_MODEL, tenant=tenant, workspace=workspace)
    assert name not in environment(decision)
    assert removed(decision) == {name: "would route around the metered proxy"}


@pytest.mark.parametrize("scope", ["tenant", "workspace"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANTHROPIC_API_KEY", "usage-token-of-the-tenant"),
        ("ANTHROPIC_BASE_URL", "https://llm.platform.test/anthropic"),
    ],
)
def test_platform_managed_replaces_what_claude_code_reads(
    name: str, value: str, scope: str
) -> None:
    own = {name: "https://elsewhere.test"}
    tenant, workspace = (own, None) if scope == "tenant" else (None, own)
    decision = launch(model=PLATFORM_MODEL, tenant=tenant, workspace=workspace)
    assert environment(decision)[name] == value
    assert name in removed(decision)


def test_platform_managed_replaces_what_other_runtimes_read() -> None:
    own = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "u", "ANTHROPIC_API_KEY": "a"}
    env = environment(launch("codex", "openai/gpt-5.4", workspace=own))
    assert env["OPENAI_API_KEY"] == "usage-token-of-the-tenant"
    assert env["OPENAI_BASE_URL"] == "https://llm.platform.test/openai/v1"
    assert "ANTHROPIC_API_KEY" not in env


DUAL_USE = [
    ("claude-code", PLATFORM_MODEL, set()),
    ("hermes", "moonshot/kimi-k2.6", {"GOOGLE_API_KEY", "NVIDIA_API_KEY"}),
    ("codex", "openai/gpt-5.4", set()),
    ("openclaw", "moonshot/kimi-k2.6", {"GROQ_API_KEY"}),
    ("google-adk", "platform:gemini-2.5-pro", {"GOOGLE_API_KEY"}),
]


@pytest.mark.parametrize(("runtime", "model", "bypass"), DUAL_USE)
def test_a_dual_use_name_bypasses_only_where_an_own_provider_accepts_it(
    runtime: str, model: str, bypass: set[str]
) -> None:
    dual = {
        "GOOGLE_APPLICATION_CREDENTIALS": "/adc.json",
        "GOOGLE_API_KEY": "g",
        "OLLAMA_HOST": "http://ollama:11434",
        "NVIDIA_API_KEY": "n",
        "GROQ_API_KEY": "q",
    }
    decision = launch(runtime, model, workspace=dual)
    assert set(removed(decision)) == bypass
    assert {name: environment(decision)[name] for name in dual.keys() - bypass} == {
        name: value for name, value in dual.items() if name not in bypass
    }


def test_optional_proxy_addresses_are_absent_when_not_configured() -> None:
    bare = PlatformProxy(base_url="https://llm.platform.test/v1", usage_token=Secret("usage"))
    env = environment(launch("codex", "openai/gpt-5.4", platform=bare))
    assert "MOLECULE_LLM_ANTHROPIC_BASE_URL" not in env
    assert "MOLECULE_LLM_USAGE_URL" not in env


def test_claude_code_needs_only_the_anthropic_surface() -> None:
    bare = PlatformProxy(anthropic_base_url="https://llm.platform.test/a", usage_token=Secret("t"))
    env = environment(launch(model=PLATFORM_MODEL, platform=bare))
    assert env["ANTHROPIC_BASE_URL"] == "https://llm.platform.test/a"
    assert "MOLECULE_LLM_BASE_URL" not in env


@pytest.mark.parametrize(
    ("runtime", "model", "name"),
    [
        ("claude-code", "opus", "CLAUDE_CODE_OAUTH_TOKEN"),
        ("claude-code", "claude-opus-4-7", "ANTHROPIC_API_KEY"),
        ("claude-code", "claude-opus-4-7", "ANTHROPIC_AUTH_TOKEN"),
        ("claude-code", "MiniMax-M2.7", "MINIMAX_API_KEY"),
        ("claude-code", "kimi-for-coding", "KIMI_API_KEY"),
        ("codex", "gpt-5.5", "CODEX_AUTH_JSON"),
        ("codex", "gpt-5.5", "OPENAI_API_KEY"),
        ("hermes", "anthropic/x", "ANTHROPIC_API_KEY"),
        ("hermes", "nvidia/x", "NVIDIA_API_KEY"),
        ("hermes", "gemini/x", "GOOGLE_API_KEY"),
        ("openclaw", "groq:x", "GROQ_API_KEY"),
        ("google-adk", "gemini-2.5-pro", "GEMINI_API_KEY"),
    ],
)
def test_byok_keeps_a_global_credential_that_the_resolved_provider_accepts(
    runtime: str, model: str, name: str
) -> None:
    decision = launch(runtime, model, tenant={name: "own"})
    assert environment(decision)[name] == "own"
    assert removed(decision) == {}


@pytest.mark.parametrize(
    ("runtime", "model", "own", "stray"),
    [
        ("claude-code", "MiniMax-M2.7", "MINIMAX_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"),
        ("claude-code", "opus", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY"),
        ("claude-code", "opus", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"),
        ("claude-code", "opus", "CLAUDE_CODE_OAUTH_TOKEN", "OPENROUTER_API_KEY"),
        ("claude-code", "opus", "CLAUDE_CODE_OAUTH_TOKEN", "XAI_API_KEY"),
        ("claude-code", "claude-opus-4-7", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"),
        ("claude-code", "kimi-k2", "KIMI_API_KEY", "MOONSHOT_API_KEY"),
        ("codex", "openai-api/x", "OPENAI_API_KEY", "CODEX_AUTH_JSON"),
        ("hermes", "openrouter/x", "OPENROUTER_API_KEY", "OPENAI_API_KEY"),
        ("hermes", "openrouter/x", "OPENROUTER_API_KEY", "NVIDIA_API_KEY"),
        ("hermes", "deepseek-chat", "DEEPSEEK_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        ("openclaw", "openai:x", "OPENAI_API_KEY", "GROQ_API_KEY"),
        ("google-adk", "gemini-2.5-pro", "GOOGLE_API_KEY", "OPENAI_API_KEY"),
    ],
)
def test_byok_removes_a_global_credential_that_the_resolved_provider_does_not_accept(
    runtime: str, model: str, own: str, stray: str
) -> None:
    decision = launch(runtime, model, tenant={own: "own", stray: "stray"})
    env = environment(decision)
    assert env[own] == "own"
    assert stray not in env
    assert removed(decision) == {
        stray: "a tenant-wide credential that the resolved provider does not accept"
    }


@pytest.mark.parametrize(
    ("runtime", "model", "own", "stray"),
    [
        ("claude-code", "MiniMax-M2.7", "MINIMAX_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"),
        ("claude-code", "opus", "CLAUDE_CODE_OAUTH_TOKEN", "OPENROUTER_API_KEY"),
        ("claude-code", "kimi-k2", "KIMI_API_KEY", "MOONSHOT_API_KEY"),
        ("codex", "openai-api/x", "OPENAI_API_KEY", "CODEX_AUTH_JSON"),
        ("hermes", "openrouter/x", "OPENROUTER_API_KEY", "NVIDIA_API_KEY"),
        ("hermes", "openrouter/x", "OPENROUTER_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        ("openclaw", "openai:x", "OPENAI_API_KEY", "GROQ_API_KEY"),
        ("google-adk", "gemini-2.5-pro", "GOOGLE_API_KEY", "OPENAI_API_KEY"),
    ],
)
def test_byok_keeps_a_credential_of_the_workspace_that_the_program_does_not_send(
    runtime: str, model: str, own: str, stray: str
) -> None:
    kept = launch(runtime, model, tenant={own: "own"}, workspace={stray: "stray"})
    assert environment(kept)[stray] == "stray"
    assert removed(kept) == {}


def test_byok_keeps_a_dual_use_name_that_no_own_provider_accepts() -> None:
    env = environment(launch(model="opus", tenant={**OAUTH, "GROQ_API_KEY": "q"}))
    assert env["GROQ_API_KEY"] == "q"


@pytest.mark.parametrize("mode", ["byok", "disabled"])
@pytest.mark.parametrize("scope", ["tenant", "workspace"])
@pytest.mark.parametrize(
    "name", ["OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "HERMES_CUSTOM_BASE_URL"]
)
@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://llm.tenant.test/v1", True),
        ("https://llm.platform.test.evil.test/v1", True),
        ("https://llm.platform.test:8443/v1", True),
        ("http://llm.platform.test/v1", True),
        ("not a url", True),
        ("https://llm.platform.test/v1", False),
        ("https://llm.platform.test", False),
        ("https://llm.platform.test:443/other/path", False),
        ("HTTPS://LLM.Platform.TEST./x", False),
        ("  https://llm.platform.test/v1\n", False),
        ("https://user:pw@llm.platform.test/v1", False),
    ],
)  # fmt: skip
def test_an_endpoint_is_kept_unless_it_leads_to_the_platform_proxy(
    url: str, kept: bool, name: str, scope: str, mode: str
) -> None:
    value = {name: url}
    tenant, workspace = (value, {}) if scope == "tenant" else ({}, value)
    own = {**workspace, **(OAUTH if mode == "byok" else {})}
    decision = launch(model="opus", tenant=tenant, workspace=own, override=mode)
    assert environment(decision).get(name) == (url if kept else None)
    expected = (
        {} if kept else {name: "points at the platform's proxy, which this workspace does not use"}
    )
    assert removed(decision) == expected


@pytest.mark.parametrize("url", ["https://a.test/x", "https://b.test/y", "https://c.test/z"])
def test_each_configured_address_of_the_proxy_counts(url: str) -> None:
    proxy = PlatformProxy(
        base_url="https://a.test", anthropic_base_url="https://b.test", usage_url="https://c.test"
    )
    decision = launch(model="opus", workspace={**OAUTH, "OPENAI_BASE_URL": url}, platform=proxy)
    assert "OPENAI_BASE_URL" not in environment(decision)


def test_role_and_parent_come_from_the_spec_in_every_mode() -> None:
    for model, override in ((PLATFORM_MODEL, ""), ("opus", ""), ("opus", "disabled")):
        decision = launch(
            model=model, override=override, tenant=OAUTH, role="reviewer", parent_id="a-parent"
        )
        env = environment(decision)
        assert (env["MOLECULE_AGENT_ROLE"], env["PARENT_ID"]) == ("reviewer", "a-parent")


def test_role_and_parent_are_absent_when_the_spec_has_none() -> None:
    decision = launch(model="opus", workspace={**OAUTH, "PARENT_ID": "forged"}, role=" ")
    env = environment(decision)
    assert "MOLECULE_AGENT_ROLE" not in env
    assert "PARENT_ID" not in env
    assert removed(decision) == {"PARENT_ID": "comes from the spec only"}


def test_a_parent_secret_never_replaces_the_spec() -> None:
    own = {**OAUTH, "PARENT_ID": "forged"}
    assert environment(launch(model="opus", workspace=own, parent_id="p"))["PARENT_ID"] == "p"


@pytest.mark.parametrize("name", ["LLM_PROVIDER", "MODEL_PROVIDER"])
@pytest.mark.parametrize(
    ("model", "override"), [("opus", ""), (PLATFORM_MODEL, ""), ("opus", "disabled")]
)
def test_a_retired_name_is_never_emitted(name: str, model: str, override: str) -> None:
    decision = launch(
        model=model, override=override, tenant={**OAUTH, name: "x"}, workspace={name: "y"}
    )
    assert name not in environment(decision)
    assert removed(decision)[name] == "a retired way to choose a model: never emitted"


def test_ordinary_secrets_pass_verbatim() -> None:
    odd = {"GREETING": "  hi\n\ttwo  ", "EMPTYISH": " ", "SNOWMAN": "\u2603", "dotted": "$HOME"}
    env = environment(launch(model="opus", tenant=odd, workspace=OAUTH))
    assert {name: env[name] for name in odd} == odd


def test_a_workspace_secret_overrides_the_global_one_of_the_same_key() -> None:
    decision = launch(
        model="opus",
        tenant={"CLAUDE_CODE_OAUTH_TOKEN": "tenant", "GREETING": "tenant"},
        workspace={"CLAUDE_CODE_OAUTH_TOKEN": "workspace"},
    )
    env = environment(decision)
    assert env["CLAUDE_CODE_OAUTH_TOKEN"] == "workspace"
    assert env["GREETING"] == "tenant"


def test_a_blank_workspace_secret_hides_the_global_one_and_counts_as_absent() -> None:
    decision = launch(
        model="opus",
        tenant={"CLAUDE_CODE_OAUTH_TOKEN": "tenant"},
        workspace={"CLAUDE_CODE_OAUTH_TOKEN": " "},
    )
    assert reason(decision) == "MISSING_BYOK_CREDENTIAL"


@pytest.mark.parametrize("override", ["byok", "disabled"])
@pytest.mark.parametrize(
    "name", ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "XAI_API_KEY", "GH_TOKEN"]
)
def test_a_blank_value_of_a_name_that_clients_read_does_not_reach_the_box(
    name: str, override: str
) -> None:
    own = OAUTH if override == "byok" else {}
    decision = launch(model="opus", workspace={**own, name: " "}, override=override)
    assert name not in environment(decision)
    assert removed(decision) == {name: "is blank, which counts as absent"}


def test_a_blank_source_host_token_of_the_workspace_clears_the_tenant_wide_one() -> None:
    decision = launch(
        model="opus", tenant={"GH_TOKEN": "old"}, workspace={**OAUTH, "GH_TOKEN": " "}
    )
    assert reason(decision) is None
    assert "GH_TOKEN" not in environment(decision)
