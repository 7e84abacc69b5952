"""The gates of a launch: each by itself, their order, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from agentworkspace.core.secret import Secret
from provision_service.catalogue.parse import parse_catalogue
from provision_service.domain.decision import Decision, Inputs, decide
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import StoredSecret, merge
from provision_service.domain.spec import WorkspaceSpec
from tests.domain.provision_launches import (
    CATALOGUE,
    NO_PROXY,
    PROXY,
    WORKSPACE,
    edited,
    environment,
    launch,
    message,
    reason,
)

PLATFORM_MODEL = "anthropic/claude-opus-4-7"
OAUTH = {"CLAUDE_CODE_OAUTH_TOKEN": "own"}


def with_rows(
    *rows: StoredSecret, model: str = "opus", override: str = "", runtime: str = "claude-code"
) -> Decision:
    """Decide over rows as the store gives them."""
    return decide(
        Inputs(
            workspace_id=WORKSPACE,
            spec=WorkspaceSpec(runtime=runtime, model=model, billing_mode_override=override),
            secrets=merge(
                [row for row in rows if row.scope is Scope.GLOBAL],
                [row for row in rows if row.scope is Scope.WORKSPACE],
            ),
            catalogue=CATALOGUE,
            platform=PROXY,
        )
    )


def row(key: str, scope: Scope, text: str | None = "x", *, comingled: bool = False) -> StoredSecret:
    return StoredSecret(key, scope, None if text is None else Secret(text), comingled)


GOOD = row("CLAUDE_CODE_OAUTH_TOKEN", Scope.WORKSPACE)


@pytest.mark.parametrize("mode", ["", "disabled", "byok", "platform_managed"])
@pytest.mark.parametrize(
    "key", ["GITHUB_TOKEN", "AWS_ACCESS_KEY_ID", "MOLECULE_OPERATOR_X", "PATH"]
)
def test_a_forbidden_name_refuses_the_launch_in_every_mode(key: str, mode: str) -> None:
    decision = with_rows(GOOD, row(key, Scope.GLOBAL), override=mode)
    assert reason(decision) == "FORBIDDEN_ENV_KEY"
    assert decision.refusal is not None
    assert decision.refusal.metadata == {"keys": key}
    assert f"{key} (tenant-wide)" in message(decision)


@pytest.mark.parametrize(
    "key",
    ["GITEA_TOKEN", "GITHUB_TOKEN", "GH_TOKEN", "GITLAB_TOKEN", "GL_TOKEN", "BITBUCKET_TOKEN"],
)
def test_a_source_host_token_of_the_workspace_clears_the_tenant_wide_one(key: str) -> None:
    decision = with_rows(GOOD, row(key, Scope.GLOBAL, "old"), row(key, Scope.WORKSPACE, "own"))
    assert environment(decision)[key] == "own"


@pytest.mark.parametrize("key", ["GITEA_PAT", "GITHUB_PAT", "ADMIN_TOKEN", "WORKSPACE_ID"])
def test_another_forbidden_name_is_refused_on_the_workspace_too(key: str) -> None:
    assert reason(with_rows(GOOD, row(key, Scope.WORKSPACE))) == "FORBIDDEN_ENV_KEY"


def test_an_unreadable_secret_refuses_the_launch_and_is_named() -> None:
    decision = with_rows(GOOD, row("GREETING", Scope.WORKSPACE, None))
    assert reason(decision) == "SECRET_UNDECRYPTABLE"
    assert "GREETING (workspace)" in message(decision)


def test_an_unreadable_workspace_secret_never_falls_back_to_the_tenants() -> None:
    decision = with_rows(
        GOOD, row("GREETING", Scope.GLOBAL, "hello"), row("GREETING", Scope.WORKSPACE, None)
    )
    assert reason(decision) == "SECRET_UNDECRYPTABLE"


def test_an_unreadable_tenant_secret_that_is_overridden_is_not_needed() -> None:
    decision = with_rows(
        GOOD, row("GREETING", Scope.GLOBAL, None), row("GREETING", Scope.WORKSPACE, "hello")
    )
    assert environment(decision)["GREETING"] == "hello"


def test_an_unreadable_credential_still_counts_as_present_for_the_resolution() -> None:
    decision = with_rows(
        row("OPENAI_API_KEY", Scope.WORKSPACE, None), model="gpt-5.5", runtime="codex"
    )
    assert reason(decision) == "SECRET_UNDECRYPTABLE"
    assert decision.resolution.provider_selection == "openai-api"


def test_an_unreadable_model_is_no_model() -> None:
    decision = with_rows(GOOD, row("MODEL", Scope.GLOBAL, None), model="")
    assert decision.resolution.effective_model == ""


UNREADABLE_TOKEN = replace(PROXY, usage_token=None, usage_token_unreadable=True)


def test_an_unreadable_usage_token_is_not_said_to_be_a_missing_one() -> None:
    decision = launch(model=PLATFORM_MODEL, platform=UNREADABLE_TOKEN)
    assert reason(decision) == "SECRET_UNDECRYPTABLE"
    assert decision.refusal is not None
    assert decision.refusal.metadata == {"keys": "MOLECULE_LLM_USAGE_TOKEN"}
    assert message(decision) == (
        "the tenant's usage token cannot be decrypted; give it again with SetTenantBilling, or"
        " restore the key it was encrypted with"
    )


def test_an_unreadable_usage_token_comes_before_a_model_that_nothing_serves() -> None:
    decision = launch(model="no-such-model", platform=UNREADABLE_TOKEN)
    assert reason(decision) == "SECRET_UNDECRYPTABLE"


@pytest.mark.parametrize("override", ["", "byok", "disabled"])
def test_an_unreadable_usage_token_does_not_stop_who_does_not_need_it(override: str) -> None:
    decision = launch(model="opus", workspace=OAUTH, override=override, platform=UNREADABLE_TOKEN)
    assert reason(decision) is None


def test_an_unreadable_usage_token_does_not_stop_a_runtime_that_is_launched_by_nobody() -> None:
    assert launch("external", platform=UNREADABLE_TOKEN).skipped
    assert reason(launch("external", platform=UNREADABLE_TOKEN)) is None


@pytest.mark.parametrize("mode", ["", "disabled", "byok", "platform_managed"])
@pytest.mark.parametrize("scope", [Scope.GLOBAL, Scope.WORKSPACE])
def test_a_platform_credential_in_a_tenants_store_refuses_every_launch(
    scope: Scope, mode: str
) -> None:
    decision = with_rows(GOOD, row("MINIMAX_API_KEY", scope, comingled=True), override=mode)
    assert reason(decision) == "PLATFORM_CREDENTIAL_COMINGLED"
    assert decision.refusal is not None
    assert decision.refusal.metadata == {"keys": "MINIMAX_API_KEY"}


def test_every_key_of_one_gate_is_named() -> None:
    decision = with_rows(row("PATH", Scope.GLOBAL), row("LD_PRELOAD", Scope.WORKSPACE), GOOD)
    assert message(decision).startswith("LD_PRELOAD (workspace), PATH (tenant-wide) ")


FAULTS: Mapping[str, tuple[StoredSecret, ...]] = {
    "FORBIDDEN_ENV_KEY": (row("PATH", Scope.GLOBAL),),
    "SECRET_UNDECRYPTABLE": (row("A", Scope.GLOBAL, None),),
    "PLATFORM_CREDENTIAL_COMINGLED": (row("B", Scope.GLOBAL, comingled=True),),
}
ORDER = [
    ("FORBIDDEN_ENV_KEY", "claude-code", "opus"),
    ("SECRET_UNDECRYPTABLE", "claude-code", "opus"),
    ("PLATFORM_CREDENTIAL_COMINGLED", "claude-code", "opus"),
    ("RUNTIME_UNKNOWN", "nope", ""),
    ("MODEL_REQUIRED", "claude-code", ""),
    ("MODEL_UNREGISTERED", "claude-code", "nonsense"),
    ("MISSING_BYOK_CREDENTIAL", "claude-code", "opus"),
    ("MISSING_PLATFORM_PROXY", "claude-code", PLATFORM_MODEL),
    ("MISSING_REQUIRED_ENV", "external", ""),
]


@pytest.mark.parametrize(("expected", "runtime", "model"), ORDER)
def test_the_first_gate_in_order_is_the_one_reason(expected: str, runtime: str, model: str) -> None:
    """Every gate that comes later than the expected one is shut as well."""
    names = list(FAULTS)
    later = names[names.index(expected) :] if expected in FAULTS else []
    decision = decide(
        Inputs(
            workspace_id=WORKSPACE,
            spec=WorkspaceSpec(runtime=runtime, model=model, required_env=("NOT_THERE",)),
            secrets=merge([fault for name in later for fault in FAULTS[name]], ()),
            catalogue=CATALOGUE,
            platform=NO_PROXY,
        )
    )
    assert reason(decision) == expected
    assert decision.resolution.refusal == expected
    assert decision.plan is None


def test_an_unknown_runtime_names_those_that_are_known() -> None:
    assert message(launch("nope", "opus")) == (
        "runtime `nope` is not in the catalogue; use one of: claude-code, hermes, codex, openclaw,"
        " google-adk, external, kimi, kimi-cli"
    )


def test_a_missing_model_names_the_default_of_the_runtime() -> None:
    assert message(launch()) == (
        "runtime `claude-code` needs a model and none is set in the spec or in MOLECULE_MODEL or"
        " MODEL; for example `sonnet`"
    )


def test_a_missing_model_names_one_that_the_tenant_can_pay_for() -> None:
    decision = launch(tenant={"MINIMAX_API_KEY": "k"})
    assert message(decision).endswith("; with your MINIMAX_API_KEY use `MiniMax-M2`")


def test_an_unregistered_model_names_the_nearest_one() -> None:
    assert message(launch(model="anthropic/claude-opus-9")) == (
        "no provider of runtime `claude-code` serves `anthropic/claude-opus-9`; for example"
        " `claude-opus-4-7`"
    )


@pytest.mark.parametrize("override", ["", "platform_managed"])
def test_an_underivable_model_is_refused_and_not_billed_to_the_platform(override: str) -> None:
    assert reason(launch(model="nonsense", override=override)) == "MODEL_UNREGISTERED"


TWO_PATTERNS = parse_catalogue(
    edited(("    pattern: '^openai-api[:/]'", "    pattern: '^(openai-api[:/]|gpt-)'")),
    file="two-patterns.yaml",
)


def test_an_ambiguous_model_names_the_providers_and_what_decides() -> None:
    decision = launch("codex", "gpt-9", catalogue=TWO_PATTERNS)
    assert reason(decision) == "PROVIDER_AMBIGUOUS"
    assert message(decision) == (
        "`gpt-9` could be served by openai-subscription or openai-api: set the credential of"
        " exactly one of them (CODEX_AUTH_JSON, OPENAI_API_KEY)"
    )


def test_a_missing_credential_names_provider_accepted_names_and_remedy() -> None:
    assert message(launch(model="claude-opus-4-7", tenant=OAUTH)) == (
        "provider anthropic-api: `claude-opus-4-7` needs ANTHROPIC_API_KEY (accepted:"
        " ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN); with your CLAUDE_CODE_OAUTH_TOKEN use `opus`,"
        " or add ANTHROPIC_API_KEY"
    )


def test_a_missing_credential_says_at_which_scope_a_shared_name_counts() -> None:
    assert message(launch(model="MiniMax-M2.7")) == (
        "provider minimax: `MiniMax-M2.7` needs MINIMAX_API_KEY (accepted: MINIMAX_API_KEY,"
        " ANTHROPIC_AUTH_TOKEN on the workspace itself, ANTHROPIC_API_KEY on the workspace"
        " itself); add MINIMAX_API_KEY"
    )


def test_a_missing_credential_carries_its_facts_as_metadata() -> None:
    decision = launch(model="opus")
    assert decision.refusal is not None
    assert decision.refusal.metadata == {
        "runtime": "claude-code",
        "model": "opus",
        "provider": "anthropic-oauth",
        "accepted": "CLAUDE_CODE_OAUTH_TOKEN",
    }


def test_a_missing_credential_names_those_of_every_vendor_of_this_very_model() -> None:
    decision = launch(runtime="codex", model="gpt-5.4")
    assert decision.refusal is not None
    assert decision.refusal.message == (
        "provider openai-subscription: `gpt-5.4` needs CODEX_AUTH_JSON (accepted: CODEX_AUTH_JSON,"
        " CODEX_CHATGPT_AUTH_JSON); add CODEX_AUTH_JSON, or OPENAI_API_KEY for openai-api"
    )
    assert decision.refusal.metadata["others"] == "OPENAI_API_KEY"


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_a_blank_credential_is_absent(blank: str) -> None:
    decision = launch(model="opus", workspace={"CLAUDE_CODE_OAUTH_TOKEN": blank})
    assert reason(decision) == "MISSING_BYOK_CREDENTIAL"


TOKEN = Secret("usage")
URL = "https://llm.platform.test"


@pytest.mark.parametrize(
    ("runtime", "model", "platform", "missing"),
    [
        ("claude-code", PLATFORM_MODEL, PlatformProxy(base_url=URL, usage_token=TOKEN),
         "PLATFORM_LLM_ANTHROPIC_BASE_URL"),
        ("claude-code", PLATFORM_MODEL, PlatformProxy(anthropic_base_url=" ", usage_token=TOKEN),
         "PLATFORM_LLM_ANTHROPIC_BASE_URL"),
        ("codex", "openai/gpt-5.4", PlatformProxy(anthropic_base_url=URL, usage_token=TOKEN),
         "PLATFORM_LLM_BASE_URL"),
        ("codex", "openai/gpt-5.4", PlatformProxy(base_url=URL), "a usage token for the tenant"),
        ("codex", "openai/gpt-5.4", PlatformProxy(base_url=URL, usage_token=Secret(" ")),
         "a usage token for the tenant"),
        ("codex", "openai/gpt-5.4", PlatformProxy(),
         "PLATFORM_LLM_BASE_URL,a usage token for the tenant"),
    ],
)  # fmt: skip
def test_a_platform_paid_launch_needs_the_proxy_of_its_surface(
    runtime: str, model: str, platform: PlatformProxy, missing: str
) -> None:
    decision = launch(runtime, model, platform=platform)
    assert reason(decision) == "MISSING_PLATFORM_PROXY"
    assert decision.refusal is not None
    assert decision.refusal.metadata["missing"] == missing


def test_byok_needs_no_proxy() -> None:
    assert reason(launch(model="opus", tenant=OAUTH, platform=NO_PROXY)) is None


@pytest.mark.parametrize(("runtime", "model"), [("nope", ""), ("claude-code", "nonsense")])
def test_disabled_skips_the_gates_from_runtime_to_proxy(runtime: str, model: str) -> None:
    assert reason(launch(runtime, model, override="disabled", platform=NO_PROXY)) is None


def test_disabled_does_not_skip_what_the_workspace_requires() -> None:
    decision = launch(override="disabled", required_env=("GREETING",))
    assert reason(decision) == "MISSING_REQUIRED_ENV"


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        ({}, "MISSING_REQUIRED_ENV"),
        ({"GITHUB_TOKEN": " "}, "MISSING_REQUIRED_ENV"),
        ({"GITHUB_TOKEN": "own"}, None),
    ],
)
def test_a_required_name_must_reach_the_box(secrets: dict[str, str], expected: str | None) -> None:
    decision = launch(model="opus", workspace={**OAUTH, **secrets}, required_env=("GITHUB_TOKEN",))
    assert reason(decision) == expected


def test_a_required_name_that_a_rule_took_out_says_which() -> None:
    decision = launch(
        model=PLATFORM_MODEL, tenant={"OPENAI_API_KEY": "k"}, required_env=("OPENAI_API_KEY", "A")
    )
    assert message(decision) == (
        "the workspace requires OPENAI_API_KEY (set, but would route around the metered proxy), A:"
        " set it as a secret, or take it off required_env"
    )
    assert decision.refusal is not None
    assert decision.refusal.metadata == {"keys": "OPENAI_API_KEY,A"}


@pytest.mark.parametrize(
    "name",
    ["WORKSPACE_ID", "WORKSPACE_INCARNATION", "WORKSPACE_BOOTSTRAP_TICKET",
     "WORKSPACE_REGISTRY_ADDRESS", "MODEL", "CLAUDE_CODE_OAUTH_TOKEN"],
)  # fmt: skip
def test_a_required_name_that_the_launch_itself_sets_is_there(name: str) -> None:
    assert reason(launch(model="opus", tenant=OAUTH, required_env=(name,))) is None


def test_a_refusal_never_shows_a_value() -> None:
    decision = launch(model="claude-opus-4-7", tenant={"CLAUDE_CODE_OAUTH_TOKEN": "do-not-show"})
    assert decision.refusal is not None
    assert "do-not-show" not in f"{message(decision)}{dict(decision.refusal.metadata)}"
