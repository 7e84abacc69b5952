"""No value of one vendor's, or of the platform's, in anything that a program sends to another.

Catalogue x secrets x scopes x what was said x route names. Whose a value is, is told by the
value itself, by names as a person reads them; where a program sends it is what its recipe says.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st

from provision_service.catalogue.recipe import references
from provision_service.domain.decision import Decision
from provision_service.domain.plan import EnvironmentPlan
from tests.domain.provision_launches import CATALOGUE, environment, launch

USAGE = "usage-token-of-the-tenant"
PROXY_HOST = "llm.platform.test"
SHARED = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"]
OWNERS = {
    "CLAUDE_CODE_OAUTH_TOKEN": "anthropic", "ANTHROPIC_TOKEN": "anthropic",
    "CODEX_AUTH_JSON": "openai", "CODEX_CHATGPT_AUTH_JSON": "openai", "CODEX_API_KEY": "openai",
    "CODEX_ACCESS_TOKEN": "openai", "OPENAI_API_KEY": "openai", "MOONSHOT_API_KEY": "moonshot",
    "KIMI_API_KEY": "moonshot", "MINIMAX_API_KEY": "minimax", "GLM_API_KEY": "zai",
    "DEEPSEEK_API_KEY": "deepseek", "GEMINI_API_KEY": "google", "GOOGLE_API_KEY": "google",
    "OPENROUTER_API_KEY": "openrouter", "GROQ_API_KEY": "groq", "NVIDIA_API_KEY": "nvidia",
    "DASHSCOPE_API_KEY": "alibaba", "HF_TOKEN": "huggingface", "DEEPINFRA_API_KEY": "deepinfra",
    "CUSTOM_API_KEY": "nobody",
}  # fmt: skip
HOSTS = {
    "api.anthropic.com": "anthropic", "api.openai.com": "openai", "chatgpt.com": "openai",
    "api.moonshot.ai": "moonshot", "api.kimi.com": "moonshot", "api.minimax.io": "minimax",
    "api.minimaxi.com": "minimax", "api.z.ai": "zai", "api.deepseek.com": "deepseek",
    "api.xiaomimimo.com": "xiaomi", "openrouter.ai": "openrouter", "api.groq.com": "groq",
    "generativelanguage.googleapis.com": "google",
}  # fmt: skip
ENDPOINTS = sorted(
    {name for runtime in CATALOGUE.runtimes for name in CATALOGUE.endpoint_names(runtime)}
)
URLS = [f"https://{host}/v1" for host in (*HOSTS, PROXY_HOST, "gateway.tenant.test")] + [" ", "x"]
ROUTES = sorted(CATALOGUE.routes_of_any_runtime() - set(ENDPOINTS))
SAID = ["minimax", "zai", "kimi-coding", "deepseek", "xiaomi", "anthropic-api", "custom"]
RUNTIMES = sorted(CATALOGUE.runtimes)
MODELS = {
    runtime.name: sorted(
        {model.id for offering in runtime.offerings for model in offering.models}
        | {f"{prefix}x" for provider in runtime.providers for prefix in provider.id_prefixes}
        | {"glm-5", "deepseek-chat", "mimo-v2", "qwen3", "claude-x", "kimi-x", "unheard-of"}
    )
    for runtime in CATALOGUE.runtimes.values()
}


@dataclass(frozen=True)
class Store:
    """What a tenant and a workspace have, and what was said of the workspace's own."""

    tenant: dict[str, str]
    workspace: dict[str, str]
    said: dict[str, str]

    def owner(self, value: str) -> str | None:
        """Whose a value is; None for one that is no credential."""
        if value == USAGE:
            return "platform"
        if value.startswith("sk-ant-"):
            return "anthropic"
        scope, _, name = value.partition("/")
        if scope not in ("tenant", "workspace"):
            return None
        if scope == "workspace" and name in self.said:
            said = CATALOGUE.providers.get(self.said[name])
            return said.owner if said is not None else self.said[name]
        if name not in SHARED:
            return OWNERS[name]
        urls = [self.workspace.get(each, "") for each in CATALOGUE.names.endpoints]
        beside = {HOSTS.get(str(urlsplit(url).hostname)) for url in urls} - {None}
        alone = scope == "workspace" and len(beside) == 1
        return beside.pop() if alone else "anthropic"


@st.composite
def stores(draw: st.DrawFn) -> Store:
    scopes: dict[str, dict[str, str]] = {}
    for scope in ("tenant", "workspace"):
        names = draw(st.lists(st.sampled_from([*OWNERS, *SHARED * 4]), max_size=6, unique=True))
        kept = {name: draw(st.sampled_from([f"{scope}/{name}"] * 6 + [" "])) for name in names}
        for name in draw(st.lists(st.sampled_from(ENDPOINTS), max_size=2, unique=True)):
            kept[name] = draw(st.sampled_from(URLS))
        for name in draw(st.lists(st.sampled_from(ROUTES), max_size=3, unique=True)):
            kept[name] = draw(st.sampled_from(["1", "sonnet", "Authorization: Bearer stray", "x"]))
        for name in draw(st.lists(st.sampled_from([*OWNERS, *SHARED]), max_size=1)):
            kept[name] = "sk-ant-api03-of-anthropic"
        scopes[scope] = kept
    named = draw(st.lists(st.sampled_from([*SHARED, *SHARED, "OPENAI_API_KEY"]), max_size=2))
    said = {name: draw(st.sampled_from(SAID)) for name in named}
    return Store(scopes["tenant"], scopes["workspace"], said)


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, str, str, Store]:
    runtime = draw(st.sampled_from(["claude-code", "hermes", *RUNTIMES]))
    model = draw(st.sampled_from(MODELS[runtime]))
    override = draw(st.sampled_from(["", "", "", "byok", "byok", "platform_managed", "disabled"]))
    return runtime, model, override, draw(stores())


def decided(case: tuple[str, str, str, Store]) -> tuple[Decision, EnvironmentPlan] | None:
    runtime, model, override, store = case
    decision = launch(
        runtime,
        model,
        override=override,
        tenant=store.tenant,
        workspace=store.workspace,
        said=store.said,
    )
    return None if decision.plan is None else (decision, decision.plan)


def payer(decision: Decision, plan: EnvironmentPlan, store: Store) -> str:
    """Whose endpoint the launch goes to."""
    if decision.resolution.resolved_mode == "platform_managed":
        return "platform"
    name = decision.resolution.provider_selection
    if name is not None:
        return CATALOGUE.providers[name].owner
    # An override over a model that nothing derives: the vendor of the endpoint.
    assert plan.launch is not None
    host = str(urlsplit(plan.launch.endpoint).hostname)
    return HOSTS.get(host, "nobody")


def harmless_at(runtime: str, decision: Decision, owner: str) -> frozenset[str]:
    """What the program reads and does not send on its way: to the derived provider, else to any
    of the runtime's own of that vendor.
    """
    mine, recipe = CATALOGUE.runtimes[runtime].providers, CATALOGUE.runtimes[runtime].recipe
    assert recipe is not None
    derived = "platform" if owner == "platform" else decision.resolution.provider_selection
    names = [derived] if derived else [each.name for each in mine if each.owner == owner]
    ways = [recipe.way_for(name) for name in names]
    return frozenset().union(*(way.harmless for way in ways if way is not None))


MANY = settings(max_examples=120, deadline=None)


@MANY
@given(cases())
def test_what_a_program_reads_belongs_to_whom_it_sends_it(
    case: tuple[str, str, str, Store],
) -> None:
    found = decided(case)
    if found is None or found[1].launch is None:
        return
    (decision, plan), store = found, case[3]
    assert plan.launch is not None
    env = environment(decision)
    recipe = CATALOGUE.runtimes[case[0]].recipe
    assert recipe is not None
    to = payer(decision, plan, store)
    harmless = harmless_at(case[0], decision, to)
    for read in recipe.reads:
        value = env.get(read.name)
        if value is None or read.name in harmless:
            continue
        whose = store.owner(value)
        destination = read.vendor or to
        if destination in ("custom", "ollama", "nobody"):
            continue
        assert whose == destination, (read.name, value, destination)


@MANY
@given(cases())
def test_what_a_file_names_belongs_to_the_payer_and_no_text_holds_a_secret(
    case: tuple[str, str, str, Store],
) -> None:
    found = decided(case)
    if found is None or found[1].launch is None:
        return
    (decision, plan), store = found, case[3]
    assert plan.launch is not None
    env = environment(decision)
    to = payer(decision, plan, store)
    texts = [*plan.launch.arguments, *(file.content for file in plan.launch.files)]
    secrets = [value for value in env.values() if store.owner(value) is not None]
    whole = plan.launch.as_text()
    assert not [value for value in secrets if value in whole]
    quoted = [name for name in OWNERS if any(f'"{name}"' in text for text in texts)]
    quoted += [name for name in SHARED if any(f'"{name}"' in text for text in texts)]
    for name in [*quoted, *(name for text in texts for name in references(text))]:
        whose = store.owner(env.get(name, ""))
        if to in ("custom", "ollama", "nobody"):
            continue
        assert whose in (None, to), (name, env.get(name), to)


@MANY
@given(cases())
def test_a_launch_goes_to_the_payers_own_address_or_where_the_tenant_says(
    case: tuple[str, str, str, Store],
) -> None:
    found = decided(case)
    if found is None or found[1].launch is None or not found[1].launch.endpoint:
        return
    (decision, plan), store = found, case[3]
    assert plan.launch is not None
    host = str(urlsplit(plan.launch.endpoint).hostname)
    to = payer(decision, plan, store)
    if to == "platform":
        assert host == PROXY_HOST
        return
    assert host != PROXY_HOST
    assert HOSTS.get(host, to) in (to, "nobody") or to in ("custom", "nobody")


@MANY
@given(cases())
def test_no_switch_and_no_other_model_reaches_a_program(case: tuple[str, str, str, Store]) -> None:
    found = decided(case)
    if found is None:
        return
    (decision, plan), _ = found, case[3]
    env = environment(decision)
    recipe = CATALOGUE.runtimes[case[0]].recipe
    assert recipe is not None
    set_by_us = set(plan.launch.names) if plan.launch is not None else set()
    made = {directory.env for directory in recipe.directories}
    assert not env.keys() & (recipe.closed_routes.switches - set_by_us)
    assert not env.keys() & (made | CATALOGUE.names.tls_switches)
    spelled = {env.get("MODEL"), plan.launch.model if plan.launch is not None else None}
    for name in recipe.routes.models & env.keys():
        assert env[name].strip() in spelled
    for name in recipe.routes.headers & env.keys():
        assert "Authorization" not in env[name]
    if plan.launch is not None:
        assert not env.keys() & set(plan.launch.unset)
    if decision.resolution.resolved_mode == "platform_managed":
        assert not env.keys() & CATALOGUE.names.proxies


@MANY
@given(cases())
def test_the_platforms_key_is_nowhere_unless_it_pays(case: tuple[str, str, str, Store]) -> None:
    found = decided(case)
    if found is None or found[0].resolution.resolved_mode == "platform_managed":
        return
    env = environment(found[0])
    assert USAGE not in env.values()
    endpoints = CATALOGUE.endpoint_names(case[0])
    assert not [name for name in endpoints if PROXY_HOST in env.get(name, "")]


@MANY
@given(cases())
def test_disabled_leaves_no_credential(case: tuple[str, str, str, Store]) -> None:
    runtime, model, _, store = case
    found = decided((runtime, model, "disabled", store))
    assert found is not None
    env = environment(found[0])
    bypass = CATALOGUE.bypass_credentials(runtime)
    assert not [name for name in bypass if name in env]
