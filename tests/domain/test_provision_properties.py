"""What holds for every runtime, model, set of secrets, scope and override."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st

from provision_service.domain.decision import Decision
from tests.domain.provision_launches import (
    CATALOGUE,
    NO_PROXY,
    PROXY,
    environment,
    launch,
    reason,
)

RUNTIMES = ["claude-code", "hermes", "codex", "openclaw", "google-adk", "external", "mock", "nope"]
MENU_MODELS = sorted(
    {
        model.id
        for runtime in CATALOGUE.runtimes.values()
        for offering in runtime.offerings
        for model in offering.models
    }
)
MODELS = [
    *MENU_MODELS,
    "", " ", "nonsense", "platform/x", "claude-x", "glm-5", "deepseek-chat", "mimo-v2",
    "openrouter/x", "custom:x", "anthropic/x", "openai:x", "groq:x", "gemini/x", "gemini-x",
    "minimax:x", "nvidia/x", "minimax-cn/x", "gpt-x", "openai-api/x", "qwen3",
]  # fmt: skip
CREDENTIALS = sorted(
    {name for p in CATALOGUE.providers.values() if not p.is_platform for name in p.auth_env}
    | CATALOGUE.names.extra_credentials
)
ENDPOINTS = ["ANTHROPIC_BASE_URL", "HERMES_CUSTOM_BASE_URL", "OPENAI_BASE_URL"]
URLS = [
    "https://llm.platform.test/v1", "https://llm.platform.test:443", "https://gateway.tenant.test",
    "https://api.deepseek.com/anthropic", "https://api.anthropic.com",
    "https://api.minimax.io/anthropic", " ",
]  # fmt: skip
OTHERS = ["GREETING", "LLM_PROVIDER", "MODEL_PROVIDER", "PARENT_ID", "ANTHROPIC_CUSTOM_HEADERS"]

# By name alone, as a person would say whose key it is; a shared name tells it tenant-wide only.
VENDOR_OF_NAME = {
    "CLAUDE_CODE_OAUTH_TOKEN": "anthropic",
    "KIMI_API_KEY": "moonshot",
    "MINIMAX_API_KEY": "minimax",
    "GLM_API_KEY": "zai",
    "DEEPSEEK_API_KEY": "deepseek",
    "OPENAI_API_KEY": "openai",
    "OPENROUTER_API_KEY": "openrouter",
    "XAI_API_KEY": "xai",
}
VENDOR_OF_HOST = {
    "api.anthropic.com": "anthropic",
    "api.kimi.com": "moonshot",
    "api.minimax.io": "minimax",
    "api.z.ai": "zai",
    "api.deepseek.com": "deepseek",
    "api.xiaomimimo.com": "xiaomi",
}
REASONS = {
    "RUNTIME_UNKNOWN", "MODEL_REQUIRED", "MODEL_UNREGISTERED", "PROVIDER_AMBIGUOUS",
    "MISSING_BYOK_CREDENTIAL", "MISSING_PLATFORM_PROXY",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    runtime: str
    model: str
    override: str
    tenant: dict[str, str]
    workspace: dict[str, str]
    proxy: bool

    def decide(self, *, at_create: bool = False) -> Decision:
        return launch(
            self.runtime,
            self.model,
            tenant=self.tenant,
            workspace=self.workspace,
            override=self.override,
            platform=PROXY if self.proxy else NO_PROXY,
            at_create=at_create,
        )


@st.composite
def stores(draw: st.DrawFn, scope: str) -> dict[str, str]:
    """Secrets of one scope; each credential's value tells its scope and name, or is blank."""
    names = draw(st.lists(st.sampled_from(CREDENTIALS), max_size=6, unique=True))
    store = {name: draw(st.sampled_from([f"{scope}/{name}"] * 5 + [" "])) for name in names}
    for name in draw(st.lists(st.sampled_from(ENDPOINTS), max_size=2, unique=True)):
        store[name] = draw(st.sampled_from(URLS))
    for name in draw(st.lists(st.sampled_from(OTHERS), max_size=2, unique=True)):
        store[name] = f"{scope}/{name}"
    return store


@st.composite
def cases(draw: st.DrawFn, overrides: tuple[str, ...] | None = None) -> Case:
    return Case(
        # Half of them the runtime with the most rules.
        runtime=draw(st.sampled_from(["claude-code"] * 8 + RUNTIMES)),
        model=draw(st.sampled_from(MODELS)),
        override=draw(
            st.sampled_from(
                overrides or ("", "", "", "byok", "platform_managed", "disabled", "garbled")
            )
        ),
        tenant=draw(stores("tenant")),
        workspace=draw(stores("workspace")),
        proxy=draw(st.sampled_from([True, True, True, False])),
    )


MANY = settings(max_examples=120, deadline=None)


@MANY
@given(cases())
def test_there_is_a_plan_or_exactly_one_reason(case: Case) -> None:
    decision = case.decide()
    assert (decision.plan is None) == (decision.refusal is not None)
    assert decision.resolution.refusal == reason(decision)
    assert reason(decision) in REASONS | {None}


@MANY
@given(cases())
def test_the_same_inputs_give_the_same_answer(case: Case) -> None:
    first, second = case.decide(), case.decide()
    assert first.resolution == second.resolution
    assert first.plan == second.plan
    assert first.resolution == case.decide(at_create=True).resolution


@MANY
@given(cases())
def test_no_platform_address_or_usage_token_without_platform_managed(case: Case) -> None:
    decision = case.decide()
    if decision.plan is None or decision.resolution.resolved_mode == "platform_managed":
        return
    env = environment(decision)
    assert "usage-token-of-the-tenant" not in env.values()
    if case.proxy:
        assert not [name for name, value in env.items() if "llm.platform.test" in value]
    assert not [name for name in env if name.startswith("MOLECULE_LLM_") and "BILLING" not in name]


@MANY
@given(cases())
def test_no_vendor_credential_or_endpoint_of_the_tenant_in_platform_managed(case: Case) -> None:
    decision = case.decide()
    if decision.plan is None or decision.resolution.resolved_mode != "platform_managed":
        return
    env = environment(decision)
    bypass = CATALOGUE.bypass_credentials(case.runtime)
    assert not [name for name in bypass if env.get(name, "").startswith(("tenant/", "workspace/"))]
    assert not [name for name in ENDPOINTS if env.get(name) not in (None, *PROXY.addresses())]
    assert env["MOLECULE_LLM_USAGE_TOKEN"] == "usage-token-of-the-tenant"


@MANY
@given(cases(overrides=("",)))
def test_a_byok_selection_is_never_billed_to_the_platform(case: Case) -> None:
    resolution = case.decide().resolution
    if resolution.provider_selection in (None, "platform"):
        return
    assert resolution.resolved_mode == "byok"
    assert resolution.source == "derived_provider"


@MANY
@given(cases(overrides=("", "byok")))
def test_a_byok_box_never_starts_without_a_credential_of_its_runtimes_vendors(case: Case) -> None:
    decision = case.decide()
    if decision.plan is None or decision.resolution.resolved_mode != "byok":
        return
    env = environment(decision)
    runtime = CATALOGUE.runtimes[case.runtime]
    accepted = {name for p in runtime.providers if not p.is_platform for name in p.auth_env}
    # By their values: a recipe may hand a credential on under a name of its own.
    brought = [
        stored.get(name, "") for name in accepted for stored in (case.tenant, case.workspace)
    ]
    assert [value for value in brought if value.strip() and value in env.values()]


@MANY
@given(cases(overrides=("",)))
def test_no_vendors_credential_travels_to_another_vendors_endpoint(case: Case) -> None:
    decision = case.decide()
    if decision.plan is None or decision.resolution.resolved_mode != "byok":
        return
    if case.runtime != "claude-code":
        return
    env = environment(decision)
    url = env.get("ANTHROPIC_BASE_URL", "").strip() or "https://api.anthropic.com"
    endpoint = VENDOR_OF_HOST.get(str(urlsplit(url).hostname))
    if endpoint is None:
        return
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        scope, _, source = env.get(name, "").partition("/")
        whose = VENDOR_OF_NAME.get(source)
        if source.startswith("ANTHROPIC_") and scope == "tenant":
            whose = "anthropic"
        assert whose in (None, endpoint), (name, env[name], url)
    if env.get("CLAUDE_CODE_OAUTH_TOKEN", "").startswith("tenant/"):
        assert endpoint == "anthropic"


@MANY
@given(cases())
def test_what_is_closed_or_retired_never_reaches_a_box_as_the_tenant_wrote_it(case: Case) -> None:
    decision = case.decide()
    if decision.plan is None:
        return
    env = environment(decision)
    assert not env.keys() & {"LLM_PROVIDER", "MODEL_PROVIDER", "PARENT_ID"}


@MANY
@given(cases(overrides=("", "byok")))
def test_a_credential_on_the_workspace_itself_is_kept_unless_the_platform_pays(
    case: Case,
) -> None:
    decision = case.decide()
    if decision.plan is None or decision.resolution.resolved_mode == "platform_managed":
        return
    env = environment(decision)
    runtime = CATALOGUE.runtimes.get(case.runtime)
    # What the program itself reads may be another vendor's, and is the matter of other tests.
    read = runtime.recipe.read_names if runtime is not None and runtime.recipe is not None else ()
    for name in case.workspace.keys() & set(CREDENTIALS) - set(read):
        value = case.workspace[name]
        assert env.get(name) == (value if value.strip() else None)


@MANY
@given(cases())
def test_steps_notices_and_refusals_never_show_the_value_of_a_credential(case: Case) -> None:
    decision = case.decide()
    shown = repr((decision.resolution, decision.warnings, decision.refusal, decision.plan)) + str(
        dict(decision.refusal.metadata) if decision.refusal else ""
    )
    assert "tenant/" not in shown
    assert "workspace/" not in shown


@MANY
@given(cases())
def test_every_secret_is_in_the_plan_or_in_the_list_of_what_was_removed(case: Case) -> None:
    decision = case.decide()
    if decision.plan is None:
        return
    removed = {entry.name for entry in decision.plan.removed}
    assert case.tenant.keys() | case.workspace.keys() <= decision.plan.variables.keys() | removed
