"""Route names: what would lead a program elsewhere does not reach it, and is said."""

from __future__ import annotations

import pytest

from provision_service.domain.decision import Decision
from tests.domain.provision_launches import environment, launch, removed, warnings

PLATFORM_MODEL = "anthropic/claude-opus-4-7"
OAUTH = {"CLAUDE_CODE_OAUTH_TOKEN": "own"}
SWITCHES = [
    "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_GATEWAY", "CLAUDE_CODE_USE_MANTLE", "CLAUDE_CODE_USE_ANTHROPIC_AWS",
    "ANTHROPIC_BEDROCK_BASE_URL", "ANTHROPIC_VERTEX_BASE_URL", "ANTHROPIC_FOUNDRY_BASE_URL",
    "ANTHROPIC_FOUNDRY_API_KEY", "AWS_BEARER_TOKEN_BEDROCK", "ANTHROPIC_UNIX_SOCKET",
    "CLAUDE_CODE_HOST_CREDS_FILE", "CLAUDE_CODE_CUSTOM_OAUTH_URL", "CLAUDE_CONFIG_DIR",
    "_CLAUDE_CODE_ASSUME_FIRST_PARTY_BASE_URL",
]  # fmt: skip
SWITCHED = "would lead claude-code to another endpoint, vendor or set of settings"


def decided(name: str, value: str, *, model: str, scope: str, override: str = "") -> Decision:
    """A launch with one route name at one scope."""
    secrets = {name: value}
    tenant, workspace = (secrets, {}) if scope == "tenant" else ({}, secrets)
    own = OAUTH if override != "disabled" and model == "opus" else {}
    return launch(model=model, tenant=tenant, workspace={**workspace, **own}, override=override)


@pytest.mark.parametrize("scope", ["tenant", "workspace"])
@pytest.mark.parametrize(
    ("model", "override"), [(PLATFORM_MODEL, ""), ("opus", ""), ("opus", "disabled")]
)
@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_never_reaches_the_box(name: str, model: str, override: str, scope: str) -> None:
    decision = decided(name, "1", model=model, scope=scope, override=override)
    assert name not in environment(decision)
    assert removed(decision) == {name: SWITCHED}
    (notice,) = decision.warnings
    assert notice.code == "ROUTE_NAME_REMOVED"
    shown = "global" if scope == "tenant" else "workspace"
    assert notice.text == f"{name} ({shown}) {SWITCHED}, so it does not reach the box; delete it"
    (step,) = (s for s in decision.resolution.steps if s.rule == "environment.route")
    assert step.inputs == (f"{name}@{shown}", "claude-code")


@pytest.mark.parametrize("name", SWITCHES)
def test_a_name_of_another_program_is_an_ordinary_secret(name: str) -> None:
    decision = launch("codex", "openai/gpt-5.4", workspace={name: "1"})
    assert environment(decision)[name] == "1"
    assert warnings(decision) == []


@pytest.mark.parametrize("scope", ["tenant", "workspace"])
@pytest.mark.parametrize(
    ("runtime", "model", "own"),
    [
        ("hermes", "moonshot/kimi-k2.6", {}),
        ("hermes", "kimi-coding/kimi-k2", {"KIMI_API_KEY": "own"}),
        ("openclaw", "moonshot/kimi-k2.6", {}),
        ("openclaw", "moonshot:kimi-k2.6", {"KIMI_API_KEY": "own"}),
        ("google-adk", "platform:gemini-2.5-pro", {}),
        ("google-adk", "gemini-2.5-pro", {"GOOGLE_API_KEY": "own"}),
    ],
)
def test_another_programs_settings_and_proxies_never_reach_its_box(
    runtime: str, model: str, own: dict[str, str], scope: str
) -> None:
    for name in {
        "hermes": ["HERMES_HOME", "HERMES_MANAGED_DIR", "HERMES_IGNORE_USER_CONFIG"],
        "openclaw": ["OPENCLAW_CONFIG_PATH", "OPENCLAW_DEBUG_PROXY_URL"],
        "google-adk": ["USE_LITELLM_PROXY", "LITELLM_PROXY_API_BASE", "LITELLM_PROXY_API_KEY"],
    }[runtime]:
        tenant, workspace = ({name: "x"}, own) if scope == "tenant" else ({}, {**own, name: "x"})
        decision = launch(runtime, model, tenant=tenant, workspace=workspace)
        assert name not in environment(decision)
        assert list(removed(decision)) == [name]
        assert warnings(decision) == ["ROUTE_NAME_REMOVED"]


@pytest.mark.parametrize("scope", ["tenant", "workspace"])
@pytest.mark.parametrize(
    "name",
    [
        "ANTHROPIC_MODEL", "ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL",
        "ANTHROPIC_DEFAULT_SONNET_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL",
        "CLAUDE_CODE_SUBAGENT_MODEL",
    ],
)  # fmt: skip
@pytest.mark.parametrize("model", [PLATFORM_MODEL, "opus"])
def test_a_model_name_reaches_the_box_only_where_it_names_the_resolved_model(
    name: str, model: str, scope: str
) -> None:
    decision = decided(name, "sonnet", model=model, scope=scope)
    assert environment(decision).get(name) in (None, model)
    assert removed(decision) == {name: "would give claude-code another model than the resolved one"}
    assert warnings(decision) == ["ROUTE_NAME_REMOVED"]
    same = decided(name, f" {model} ", model=model, scope=scope)
    assert removed(same) == {}
    assert warnings(same) == []


def test_a_model_name_may_be_spelled_as_the_program_spells_it() -> None:
    decision = launch(model="anthropic:opus", workspace={**OAUTH, "ANTHROPIC_MODEL": "opus"})
    assert removed(decision) == {}


@pytest.mark.parametrize(
    "header",
    [
        "Authorization: Bearer x", "x-api-key: x", "X-Goog-Api-Key : x", "api-key: x",
        "Proxy-Authorization: x", "Cookie: x", "X-Auth-Token: x", "Host: elsewhere.test",
        "X-Fine: 1\nauthorization: x",
    ],
)  # fmt: skip
def test_a_header_with_a_credential_never_reaches_the_box(header: str) -> None:
    decision = launch(model="opus", workspace={**OAUTH, "ANTHROPIC_CUSTOM_HEADERS": header})
    assert "ANTHROPIC_CUSTOM_HEADERS" not in environment(decision)
    assert warnings(decision) == ["ROUTE_NAME_REMOVED"]


def test_a_plain_header_is_the_tenants_own_matter_unless_the_platform_pays() -> None:
    own = {"ANTHROPIC_CUSTOM_HEADERS": "X-Team: blue"}
    assert environment(launch(model="opus", workspace={**OAUTH, **own}))[
        "ANTHROPIC_CUSTOM_HEADERS"
    ] == ("X-Team: blue")
    decision = launch(model=PLATFORM_MODEL, workspace=own)
    assert environment(decision)["ANTHROPIC_CUSTOM_HEADERS"].startswith("X-Molecule-Workspace-Id")
    assert warnings(decision) == ["ROUTE_NAME_REMOVED"]


PROXIES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]


@pytest.mark.parametrize("scope", ["tenant", "workspace"])
@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize(
    ("runtime", "model"),
    [
        ("claude-code", PLATFORM_MODEL),
        ("codex", "openai/gpt-5.4"),
        ("hermes", "moonshot/kimi-k2.6"),
    ],
)
def test_a_proxy_variable_does_not_see_the_platforms_key(
    runtime: str, model: str, name: str, scope: str
) -> None:
    secrets = {name: "http://proxy.tenant.test"}
    decision = launch(runtime, model, **{scope: secrets})  # type: ignore[arg-type]
    assert name not in environment(decision)
    assert removed(decision) == {name: "would show the platform's key to another host"}
    assert "ROUTE_NAME_REMOVED" in warnings(decision)


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_variable_is_the_tenants_own_matter_when_it_pays(name: str) -> None:
    own = {**OAUTH, name: "http://proxy.tenant.test"}
    assert environment(launch(model="opus", workspace=own))[name] == own[name]


@pytest.mark.parametrize(
    ("runtime", "model", "own"),
    [
        ("claude-code", PLATFORM_MODEL, {}),
        ("claude-code", "opus", OAUTH),
        ("codex", "gpt-5.5", {"OPENAI_API_KEY": "own"}),
    ],
)
def test_what_switches_off_the_check_of_the_other_end_is_never_handed_on(
    runtime: str, model: str, own: dict[str, str]
) -> None:
    for scope in ("tenant", "workspace"):
        secrets = {**own, "NODE_TLS_REJECT_UNAUTHORIZED": "0"}
        decision = launch(runtime, model, **{scope: secrets})  # type: ignore[arg-type]
        assert "NODE_TLS_REJECT_UNAUTHORIZED" not in environment(decision)
        assert warnings(decision) == ["ROUTE_NAME_REMOVED"]
