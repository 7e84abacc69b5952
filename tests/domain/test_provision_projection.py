"""A byok box of claude-code: which credential goes where, and to whose endpoint."""

from __future__ import annotations

import pytest

from provision_service.catalogue.parse import parse_catalogue
from provision_service.domain.billing import BillingMode
from provision_service.domain.environment import Launch, plan_environment
from provision_service.domain.model_choice import EffectiveModel
from provision_service.domain.spec import WorkspaceSpec
from tests.domain.provision_launches import (
    CATALOGUE,
    NO_PROXY,
    PROXY,
    edited,
    environment,
    launch,
    message,
    reason,
    removed,
    table,
)
from tests.domain.provision_launches import (
    secrets as merged,
)

OWN_NAME = [
    ("MiniMax-M2.7", "MINIMAX_API_KEY", "ANTHROPIC_AUTH_TOKEN", "https://api.minimax.io/anthropic"),
    ("kimi-for-coding", "KIMI_API_KEY", "ANTHROPIC_API_KEY", "https://api.kimi.com/coding"),
    ("glm-4.6", "GLM_API_KEY", "ANTHROPIC_AUTH_TOKEN", "https://api.z.ai/api/anthropic"),
    ("deepseek-chat", "DEEPSEEK_API_KEY", "ANTHROPIC_AUTH_TOKEN",
     "https://api.deepseek.com/anthropic"),
]  # fmt: skip


@pytest.mark.parametrize("scope", ["tenant", "workspace"])
@pytest.mark.parametrize(("model", "name", "target", "endpoint"), OWN_NAME)
def test_an_own_name_is_put_where_the_runtime_looks_with_the_vendors_endpoint(
    model: str, name: str, target: str, endpoint: str, scope: str
) -> None:
    own = {name: "own-key"}
    tenant, workspace = (own, None) if scope == "tenant" else (None, own)
    decision = launch(model=model, tenant=tenant, workspace=workspace)
    env = environment(decision)
    assert env[name] == "own-key"
    assert env[target] == "own-key"
    assert env["ANTHROPIC_BASE_URL"] == endpoint
    both = {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"}
    assert both & env.keys() == {target}
    assert decision.plan is not None
    origin = "global_secret" if scope == "tenant" else "workspace_secret"
    assert decision.plan.variables[target].origin == origin
    assert decision.plan.variables["ANTHROPIC_BASE_URL"].origin == "derived"


SHARED_BY = [
    ("MiniMax-M2.7", "minimax", "ANTHROPIC_AUTH_TOKEN", "https://api.minimax.io/anthropic"),
    ("kimi-k2", "kimi-coding", "ANTHROPIC_API_KEY", "https://api.kimi.com/coding"),
    ("glm-4.6", "zai", "ANTHROPIC_AUTH_TOKEN", "https://api.z.ai/api/anthropic"),
    ("deepseek-chat", "deepseek", "ANTHROPIC_AUTH_TOKEN", "https://api.deepseek.com/anthropic"),
    ("mimo-v2", "xiaomi", "ANTHROPIC_AUTH_TOKEN", "https://api.xiaomimimo.com/anthropic"),
    ("claude-opus-4-7", "", "ANTHROPIC_API_KEY", "https://api.anthropic.com"),
    ("claude-opus-4-7", "anthropic-oauth", "ANTHROPIC_API_KEY", "https://api.anthropic.com"),
]


@pytest.mark.parametrize("shared", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
@pytest.mark.parametrize(("model", "whose", "target", "endpoint"), SHARED_BY)
def test_a_shared_name_is_the_credential_of_the_vendor_that_its_writer_named(
    model: str, whose: str, target: str, endpoint: str, shared: str
) -> None:
    said = {shared: whose} if whose else None
    env = environment(launch(model=model, workspace={shared: "own-key"}, said=said))
    assert env[target] == "own-key"
    assert env[shared] == "own-key"
    assert env["ANTHROPIC_BASE_URL"] == endpoint


@pytest.mark.parametrize("shared", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
@pytest.mark.parametrize(("model", "whose", "target", "endpoint"), SHARED_BY)
def test_a_shared_name_of_which_nothing_was_said_is_anthropics(
    model: str, whose: str, target: str, endpoint: str, shared: str
) -> None:
    expected = None if model.startswith("claude") else "MISSING_BYOK_CREDENTIAL"
    assert reason(launch(model=model, workspace={shared: "own-key"})) == expected


def test_a_refusal_over_a_shared_name_says_both_remedies() -> None:
    said = message(launch(model="MiniMax-M2.7", workspace={"ANTHROPIC_API_KEY": "own-key"}))
    assert said.endswith(
        "or add MINIMAX_API_KEY; ANTHROPIC_API_KEY counts as a credential of anthropic: if it is"
        " one of minimax, say so with provider `minimax` (SetWorkspaceSecret, or `workspacectl"
        " secrets assign-provider`)"
    )


def test_what_another_vendor_was_said_to_own_is_not_anthropics() -> None:
    own = {"ANTHROPIC_API_KEY": "own-key"}
    decision = launch(model="claude-opus-4-7", workspace=own, said={"ANTHROPIC_API_KEY": "minimax"})
    assert reason(decision) == "MISSING_BYOK_CREDENTIAL"


@pytest.mark.parametrize("shared", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
@pytest.mark.parametrize("name", ["ANTHROPIC_BASE_URL", "OPENAI_BASE_URL"])
def test_an_endpoint_of_the_vendor_beside_a_shared_name_says_whose_it_is(
    shared: str, name: str
) -> None:
    pair = {shared: "own-key", name: "https://api.minimax.io/anthropic"}
    assert environment(launch(model="MiniMax-M2.7", workspace=pair))[shared] == "own-key"
    assert reason(launch(model="claude-opus-4-7", workspace=pair)) == "MISSING_BYOK_CREDENTIAL"
    assert reason(launch(model="glm-4.6", workspace=pair)) == "MISSING_BYOK_CREDENTIAL"
    split = launch(model="MiniMax-M2.7", tenant={name: pair[name]}, workspace={shared: "own-key"})
    assert reason(split) == "MISSING_BYOK_CREDENTIAL"


def test_endpoints_of_two_vendors_say_nothing_of_a_shared_name() -> None:
    both = {
        "ANTHROPIC_API_KEY": "own-key",
        "ANTHROPIC_BASE_URL": "https://api.minimax.io/anthropic",
        "OPENAI_BASE_URL": "https://api.z.ai/api/anthropic",
    }
    assert reason(launch(model="MiniMax-M2.7", workspace=both)) == "MISSING_BYOK_CREDENTIAL"
    assert reason(launch(model="claude-opus-4-7", workspace=both)) is None


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "MINIMAX_API_KEY"])
@pytest.mark.parametrize("scope", ["tenant", "workspace"])
def test_a_value_of_anthropics_form_is_anthropics_whatever_was_said(name: str, scope: str) -> None:
    own = {name: "sk-ant-api03-x"}
    tenant, workspace = (own, {}) if scope == "tenant" else ({}, own)
    decision = launch(
        model="MiniMax-M2.7", tenant=tenant, workspace=workspace, said={name: "minimax"}
    )
    assert reason(decision) == "MISSING_BYOK_CREDENTIAL"


def test_anthropics_key_under_anothers_name_goes_to_nobody_beside_the_one_that_pays() -> None:
    tenant = {"KIMI_API_KEY": "sk-ant-api03-x", "MOONSHOT_API_KEY": "own"}
    decision = launch("hermes", "kimi-coding/kimi-k2", tenant=tenant)
    assert reason(decision) == "MISSING_BYOK_CREDENTIAL"


@pytest.mark.parametrize("shared", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
@pytest.mark.parametrize(
    "model", ["MiniMax-M2.7", "kimi-k2", "glm-4.6", "deepseek-chat", "mimo-v2", "opus"]
)
def test_a_shared_name_tenant_wide_satisfies_no_other_vendor(model: str, shared: str) -> None:
    assert reason(launch(model=model, tenant={shared: "k"})) == "MISSING_BYOK_CREDENTIAL"


@pytest.mark.parametrize("shared", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
def test_a_shared_name_tenant_wide_satisfies_anthropics_own_api(shared: str) -> None:
    env = environment(launch(model="claude-opus-4-7", tenant={shared: "own-key"}))
    assert env["ANTHROPIC_API_KEY"] == "own-key"
    assert env["ANTHROPIC_BASE_URL"] == "https://api.anthropic.com"


def test_a_shared_name_tenant_wide_satisfies_anthropic_in_hermes() -> None:
    env = environment(launch("hermes", "anthropic/x", tenant={"ANTHROPIC_API_KEY": "own-key"}))
    assert env["ANTHROPIC_API_KEY"] == "own-key"


def test_a_shared_name_that_anthropic_in_hermes_does_not_list_satisfies_nothing() -> None:
    decision = launch("hermes", "anthropic/x", workspace={"ANTHROPIC_AUTH_TOKEN": "k"})
    assert reason(decision) == "MISSING_BYOK_CREDENTIAL"


@pytest.mark.parametrize("scope", ["tenant", "workspace"])
def test_a_shared_name_in_another_runtime_counts_on_the_workspace_only(scope: str) -> None:
    own = {"ANTHROPIC_AUTH_TOKEN": "k"}
    tenant, workspace = (own, None) if scope == "tenant" else (None, own)
    said = {"ANTHROPIC_AUTH_TOKEN": "deepseek"}
    decision = launch("hermes", "deepseek-chat", tenant=tenant, workspace=workspace, said=said)
    assert reason(decision) == ("MISSING_BYOK_CREDENTIAL" if scope == "tenant" else None)


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_the_first_own_name_that_is_not_blank_is_the_credential(blank: str) -> None:
    own = {"MINIMAX_API_KEY": blank, "ANTHROPIC_API_KEY": "shared"}
    said = {"ANTHROPIC_API_KEY": "minimax"}
    env = environment(launch(model="MiniMax-M2.7", workspace=own, said=said))
    assert env["ANTHROPIC_AUTH_TOKEN"] == "shared"


def test_an_own_name_comes_before_a_shared_one_whatever_the_scope() -> None:
    env = environment(
        launch(
            model="MiniMax-M2.7",
            tenant={"MINIMAX_API_KEY": "minimax"},
            workspace={"ANTHROPIC_AUTH_TOKEN": "shared"},
        )
    )
    assert env["ANTHROPIC_AUTH_TOKEN"] == "minimax"


def test_a_shared_name_on_the_workspace_comes_before_one_tenant_wide() -> None:
    env = environment(
        launch(
            model="claude-opus-4-7",
            tenant={"ANTHROPIC_API_KEY": "tenant"},
            workspace={"ANTHROPIC_AUTH_TOKEN": "workspace"},
        )
    )
    assert env["ANTHROPIC_API_KEY"] == "workspace"


def test_the_names_are_tried_in_the_order_of_the_catalogue() -> None:
    own = {"ANTHROPIC_API_KEY": "key", "ANTHROPIC_AUTH_TOKEN": "token"}
    assert environment(launch(model="claude-opus-4-7", workspace=own))["ANTHROPIC_API_KEY"] == "key"
    env = environment(launch(model="mimo-v2", workspace=own, said=dict.fromkeys(own, "xiaomi")))
    assert env["ANTHROPIC_AUTH_TOKEN"] == "token"


RIVALS = [
    # The runtime sends both, one a header.
    ("MiniMax-M2.7", "MINIMAX_API_KEY", "ANTHROPIC_API_KEY"),
    ("kimi-k2", "KIMI_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    ("claude-opus-4-7", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    # The runtime sends the shared one alone.
    ("opus", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY"),
    ("opus", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"),
    # Sent once a person at the terminal declines the key.
    ("kimi-k2", "KIMI_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"),
    ("claude-opus-4-7", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"),
]


@pytest.mark.parametrize(("model", "own", "other"), RIVALS)
def test_another_credential_that_the_runtime_would_send_is_removed_and_said(
    model: str, own: str, other: str
) -> None:
    decision = launch(model=model, workspace={own: "one", other: "two"})
    assert "two" not in environment(decision).values()
    (notice,) = decision.warnings
    assert notice.code == "RIVAL_CREDENTIAL_REMOVED"
    why = f"would be sent by claude-code instead of {own}, which pays, or beside it"
    assert notice.text == (
        f"{other} (workspace) {why}, so it does not reach the box; delete it, or choose a model"
        " that it pays for"
    )
    assert notice.metadata == {"name": other, "scope": "workspace", "other": own}
    assert removed(decision) == {other: why}
    (step,) = (s for s in decision.resolution.steps if s.rule.startswith("environment."))
    assert (step.rule, step.inputs) == ("environment.rival", (f"{other}@workspace", own))


def test_each_rival_is_said() -> None:
    both = {"ANTHROPIC_AUTH_TOKEN": "two", "ANTHROPIC_API_KEY": "three"}
    decision = launch(model="opus", workspace={"CLAUDE_CODE_OAUTH_TOKEN": "one", **both})
    names = [notice.metadata["name"] for notice in decision.warnings]
    assert names == ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"]


@pytest.mark.parametrize(
    ("model", "tenant", "workspace"),
    [
        ("MiniMax-M2.7", {"ANTHROPIC_API_KEY": "two"}, {"MINIMAX_API_KEY": "one"}),
        ("MiniMax-M2.7", {}, {"MINIMAX_API_KEY": "one", "ANTHROPIC_API_KEY": "one"}),
        ("MiniMax-M2.7", {}, {"MINIMAX_API_KEY": "one", "ANTHROPIC_AUTH_TOKEN": "two"}),
        ("MiniMax-M2.7", {}, {"MINIMAX_API_KEY": "one", "CLAUDE_CODE_OAUTH_TOKEN": "two"}),
        ("anthropic/claude-opus-4-7", {}, {"ANTHROPIC_API_KEY": "two"}),
    ],
)
def test_nothing_is_warned_of_where_one_credential_is_sent(
    model: str, tenant: dict[str, str], workspace: dict[str, str]
) -> None:
    assert launch(model=model, tenant=tenant, workspace=workspace).warnings == ()


def test_another_runtime_keeps_what_it_does_not_read() -> None:
    workspace = {"OPENAI_API_KEY": "one", "ANTHROPIC_API_KEY": "two"}
    decision = launch("codex", "gpt-5.5", workspace=workspace)
    assert environment(decision)["ANTHROPIC_API_KEY"] == "two"
    assert decision.warnings == ()


@pytest.mark.parametrize("target", ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"])
def test_a_global_value_of_another_vendor_does_not_block_the_projection(target: str) -> None:
    model, name = {
        "ANTHROPIC_AUTH_TOKEN": ("MiniMax-M2.7", "MINIMAX_API_KEY"),
        "ANTHROPIC_API_KEY": ("kimi-k2", "KIMI_API_KEY"),
    }[target]
    anthropics = {"ANTHROPIC_AUTH_TOKEN": "anthropic", "ANTHROPIC_API_KEY": "anthropic"}
    decision = launch(model=model, tenant={**anthropics, name: "own"})
    env = environment(decision)
    assert env[target] == "own"
    assert "anthropic" not in env.values()
    assert removed(decision).keys() == anthropics.keys()


def test_an_endpoint_that_the_tenant_set_is_respected() -> None:
    for scope in ("tenant", "workspace"):
        secrets = {"MINIMAX_API_KEY": "own", "ANTHROPIC_BASE_URL": "https://gateway.tenant.test/v1"}
        decision = launch(model="MiniMax-M2.7", **{scope: secrets})  # type: ignore[arg-type]
        env = environment(decision)
        assert env["ANTHROPIC_BASE_URL"] == "https://gateway.tenant.test/v1"
        assert env["ANTHROPIC_AUTH_TOKEN"] == "own"


def test_a_blank_endpoint_counts_as_unset() -> None:
    secrets = {"MINIMAX_API_KEY": "own", "ANTHROPIC_BASE_URL": " "}
    env = environment(launch(model="MiniMax-M2.7", workspace=secrets))
    assert env["ANTHROPIC_BASE_URL"] == "https://api.minimax.io/anthropic"


def test_an_endpoint_at_the_platform_proxy_counts_as_unset() -> None:
    secrets = {"MINIMAX_API_KEY": "own", "ANTHROPIC_BASE_URL": "https://llm.platform.test/a"}
    env = environment(launch(model="MiniMax-M2.7", workspace=secrets))
    assert env["ANTHROPIC_BASE_URL"] == "https://api.minimax.io/anthropic"


def test_an_oauth_box_gets_no_endpoint_of_its_own() -> None:
    env = environment(launch(model="opus", workspace={"CLAUDE_CODE_OAUTH_TOKEN": "own"}))
    assert "ANTHROPIC_BASE_URL" not in env
    assert "ANTHROPIC_AUTH_TOKEN" not in env
    assert "ANTHROPIC_API_KEY" not in env


FOREIGN = [
    ("MiniMax-M2.7", "MINIMAX_API_KEY", "https://api.deepseek.com/anthropic",
     "is deepseek's endpoint, and MINIMAX_API_KEY is minimax's"),
    ("opus", "CLAUDE_CODE_OAUTH_TOKEN", "https://api.minimax.io/anthropic",
     "is minimax's endpoint, and CLAUDE_CODE_OAUTH_TOKEN is anthropic's"),
    ("kimi-k2", "KIMI_API_KEY", "https://api.anthropic.com",
     "is anthropic's endpoint, and KIMI_API_KEY is moonshot's"),
]  # fmt: skip


@pytest.mark.parametrize("scope", ["tenant", "workspace"])
@pytest.mark.parametrize(("model", "name", "endpoint", "why"), FOREIGN)
def test_another_vendors_endpoint_never_gets_a_credential_known_to_be_this_ones(
    model: str, name: str, endpoint: str, why: str, scope: str
) -> None:
    stray = {"ANTHROPIC_BASE_URL": endpoint}
    tenant, workspace = (stray, {}) if scope == "tenant" else ({}, stray)
    decision = launch(model=model, tenant=tenant, workspace={**workspace, name: "own"})
    assert environment(decision).get("ANTHROPIC_BASE_URL") != endpoint
    assert removed(decision) == {"ANTHROPIC_BASE_URL": why}


def test_anthropics_key_tenant_wide_never_goes_to_another_vendors_endpoint() -> None:
    secrets = {"ANTHROPIC_API_KEY": "own", "ANTHROPIC_BASE_URL": "https://api.z.ai/api/anthropic"}
    env = environment(launch(model="claude-opus-4-7", tenant=secrets))
    assert env["ANTHROPIC_BASE_URL"] == "https://api.anthropic.com"


def test_a_tenant_wide_endpoint_of_another_vendor_is_no_pair_of_a_workspaces_shared_name() -> None:
    decision = launch(
        model="claude-opus-4-7",
        tenant={"ANTHROPIC_BASE_URL": "https://api.z.ai/api/anthropic"},
        workspace={"ANTHROPIC_API_KEY": "anthropic-key"},
    )
    assert environment(decision)["ANTHROPIC_BASE_URL"] == "https://api.anthropic.com"
    assert removed(decision) == {
        "ANTHROPIC_BASE_URL": "is zai's endpoint, and ANTHROPIC_API_KEY is anthropic's"
    }


def test_another_endpoint_of_the_same_vendor_is_respected() -> None:
    secrets = {"MINIMAX_API_KEY": "own", "ANTHROPIC_BASE_URL": "https://api.minimaxi.com/anthropic"}
    env = environment(launch(model="MiniMax-M2.7", workspace=secrets))
    assert env["ANTHROPIC_BASE_URL"] == "https://api.minimaxi.com/anthropic"


def test_nothing_is_projected_in_other_runtimes() -> None:
    env = environment(launch("hermes", "deepseek-chat", tenant={"DEEPSEEK_API_KEY": "own"}))
    assert "ANTHROPIC_AUTH_TOKEN" not in env
    assert "ANTHROPIC_BASE_URL" not in env


NO_ENDPOINT = parse_catalogue(
    edited(
        (
            "      - name: xiaomi-mimo\n\n  - name: hermes",
            "      - name: xiaomi-mimo\n      - name: google\n\n  - name: hermes",
        )
    ),
    file="no-endpoint.yaml",
)


def test_without_an_anthropic_endpoint_the_credential_is_not_put_before_anthropics() -> None:
    decision = launch(model="gemini-9", tenant={"GEMINI_API_KEY": "own"}, catalogue=NO_ENDPOINT)
    env = environment(decision)
    assert env["GEMINI_API_KEY"] == "own"
    assert "ANTHROPIC_AUTH_TOKEN" not in env
    assert "ANTHROPIC_BASE_URL" not in env


def test_byok_over_a_platform_model_is_a_launch_of_the_vendors_own_id() -> None:
    decision = launch(
        model="minimax/MiniMax-M2.7",
        override="byok",
        tenant={"MINIMAX_API_KEY": "own", "OPENROUTER_API_KEY": "stray"},
    )
    assert table(decision) == {
        "MOLECULE_LLM_BILLING_MODE": "byok",
        "MOLECULE_LLM_BILLING_MODE_RESOLVED": "byok",
        "MOLECULE_RESOLVED_PROVIDER": "minimax",
        "MODEL": "MiniMax-M2.7",
        "MOLECULE_MODEL": "MiniMax-M2.7",
        "MINIMAX_API_KEY": "own",
        "ANTHROPIC_AUTH_TOKEN": "own",
        "ANTHROPIC_BASE_URL": "https://api.minimax.io/anthropic",
    }
    assert removed(decision).keys() == {"OPENROUTER_API_KEY"}


def test_byok_never_projects_the_platform_whatever_the_gates_let_through() -> None:
    plan = plan_environment(
        CATALOGUE,
        Launch(
            workspace_id="w",
            spec=WorkspaceSpec(),
            mode=BillingMode.BYOK,
            provider=CATALOGUE.providers["platform"],
            model=EffectiveModel("platform/x", "spec", ()),
        ),
        merged(workspace={"MOLECULE_LLM_USAGE_TOKEN": "usage"}),
        PROXY,
    )
    assert "usage" not in plan.reveal().values()
    assert "ANTHROPIC_BASE_URL" not in plan.variables


def test_byok_over_an_underivable_model_removes_nothing_and_names_no_provider() -> None:
    secrets = {"ANTHROPIC_API_KEY": "own", "OPENROUTER_API_KEY": "stray", "XAI_API_KEY": "stray"}
    decision = launch(model="brand-new", override="byok", tenant=secrets)
    assert table(decision) == {
        "MOLECULE_LLM_BILLING_MODE": "byok",
        "MOLECULE_LLM_BILLING_MODE_RESOLVED": "byok",
        "MODEL": "brand-new",
        "MOLECULE_MODEL": "brand-new",
        "ANTHROPIC_BASE_URL": "https://api.anthropic.com",
        **secrets,
    }
    assert removed(decision) == {}


def test_the_refusal_says_why_a_shared_name_tenant_wide_does_not_count() -> None:
    decision = launch(model="MiniMax-M2.7", tenant={"ANTHROPIC_AUTH_TOKEN": "k"})
    assert "counts for Anthropic's own API only" in message(decision)


def test_without_a_proxy_every_endpoint_is_the_tenants() -> None:
    own = {"CLAUDE_CODE_OAUTH_TOKEN": "own", "OPENAI_BASE_URL": "https://llm.platform.test/v1"}
    env = environment(launch(model="opus", workspace=own, platform=NO_PROXY))
    assert env["OPENAI_BASE_URL"] == "https://llm.platform.test/v1"
