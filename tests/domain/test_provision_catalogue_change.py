"""What another catalogue would change, decided for kinds of workspaces instead of for each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentworkspace.core.secret import Secret
from provision_service.catalogue.catalogue import Catalogue
from provision_service.catalogue.parse import parse_catalogue
from provision_service.domain.catalogue_change import (
    Aspect,
    Change,
    Comparison,
    Outcome,
    outcome_of,
)
from provision_service.domain.decision import Inputs, decide
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.secrets import MergedSecrets
from provision_service.domain.spec import WorkspaceSpec
from tests.domain.provision_launches import (
    CATALOGUE,
    HAIKU_AT_THE_PLATFORM,
    NO_PROXY,
    PROXY,
    WORKSPACE,
    edited,
    secrets,
)
from tests.domain.test_provision_leaks import MANY, Store, cases

WITH_WORKSPACE = PlatformProxy(
    base_url="https://llm.platform.test/{workspace_id}/v1",
    anthropic_base_url="https://llm.platform.test/{workspace_id}",
    usage_token=Secret("usage-token-of-the-tenant"),
)
NOT_CONFIGURED = (PROXY, NO_PROXY, WITH_WORKSPACE, PROXY.for_boxes())


def catalogue(*changes: tuple[str, str]) -> Catalogue:
    return parse_catalogue(edited(*changes), file="new.yaml")


HAIKU_MOVED = parse_catalogue(HAIKU_AT_THE_PLATFORM, file="new.yaml")
MINIMAX_MOVED = catalogue(
    ("https://api.minimax.io/anthropic/v1", "https://new.minimax.test/anthropic/v1")
)
PROPOSED = (HAIKU_MOVED, MINIMAX_MOVED, CATALOGUE)
OAUTH = {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-of-the-tenant"}
MINIMAX = {"MINIMAX_API_KEY": "minimax-key-of-the-tenant"}


def as_they_are(_: Catalogue, found: MergedSecrets) -> MergedSecrets:
    return found


def changed(
    proposed: Catalogue,
    model: str,
    own: dict[str, str],
    *,
    runtime: str = "claude-code",
    platform: PlatformProxy = PROXY,
) -> Change:
    spec = WorkspaceSpec(runtime=runtime, model=model)
    comparison = Comparison(CATALOGUE, proposed, as_they_are)
    return comparison.of(spec, secrets(workspace=own), platform)


def shown(outcome: Outcome) -> tuple[object, ...]:
    where = outcome.shown_endpoint(WORKSPACE)
    who = (outcome.payer, outcome.provider)
    return (*who, where, outcome.credential, outcome.model, outcome.refusal)


def test_another_payer_is_a_change_of_payer_provider_endpoint_and_credential() -> None:
    found = changed(HAIKU_MOVED, "haiku", OAUTH)
    assert shown(found.before) == (
        ("byok", "anthropic-oauth", "", "CLAUDE_CODE_OAUTH_TOKEN", "haiku", None)
    )
    assert shown(found.after) == (
        "platform_managed",
        "platform",
        "https://llm.platform.test/anthropic",
        "MOLECULE_LLM_USAGE_TOKEN",
        "haiku",
        None,
    )
    assert found.aspects == (Aspect.PAYER, Aspect.PROVIDER, Aspect.ENDPOINT, Aspect.CREDENTIAL)


def test_another_address_alone_is_a_change_of_endpoint() -> None:
    found = changed(MINIMAX_MOVED, "MiniMax-M2.7", MINIMAX)
    assert found.aspects == (Aspect.ENDPOINT,)
    assert found.after.shown_endpoint(WORKSPACE) == "https://new.minimax.test/anthropic"


def test_a_launch_that_would_be_refused_has_nobody_who_pays() -> None:
    found = changed(HAIKU_MOVED, "haiku", OAUTH, platform=NO_PROXY)
    assert found.after.payer == "nobody"
    assert str(found.after.refusal) == "MISSING_PLATFORM_PROXY"
    assert Aspect.PAYER in found.aspects
    assert Aspect.REFUSAL in found.aspects


def test_a_refusal_that_stays_a_refusal_is_no_change() -> None:
    assert changed(HAIKU_MOVED, "opus", {}).aspects == ()


def test_a_tenants_own_address_is_shown_by_its_name_alone() -> None:
    own = MINIMAX | {"ANTHROPIC_BASE_URL": "https://user:pass@gateway.tenant.test"}
    found = changed(MINIMAX_MOVED, "MiniMax-M2.7", own)
    assert found.aspects == ()
    assert found.before.shown_endpoint(WORKSPACE) == "${ANTHROPIC_BASE_URL}"
    assert "pass" not in repr(found)
    codex = {"OPENAI_API_KEY": "key", "OPENAI_BASE_URL": "https://user:pass@gateway.tenant.test"}
    before = changed(CATALOGUE, "gpt-5.5", codex, runtime="codex").before
    assert before.shown_endpoint(WORKSPACE) == "${OPENAI_BASE_URL}"


def test_the_workspaces_own_id_is_in_the_address_of_its_proxy() -> None:
    found = changed(HAIKU_MOVED, "haiku", OAUTH, platform=WITH_WORKSPACE)
    assert found.after.shown_endpoint(WORKSPACE) == f"https://llm.platform.test/{WORKSPACE}"


@MANY
@given(cases(), st.sampled_from(NOT_CONFIGURED), st.sampled_from(PROPOSED), st.booleans())
def test_a_kind_is_decided_as_each_of_its_workspaces_is(
    case: tuple[str, str, str, Store],
    platform: PlatformProxy,
    proposed: Catalogue,
    required: bool,
) -> None:
    runtime, model, override, store = case
    spec = WorkspaceSpec(
        runtime=runtime,
        model=model,
        billing_mode_override=override,
        required_env=("MINIMAX_API_KEY", "MOLECULE_AGENT_ROLE") if required else (),
        role="engineer" if len(store.workspace) % 2 else " ",
    )
    seen = secrets(store.tenant, store.workspace, store.said)
    # Decided for its kind, after another of the kind: the same keys with other values.
    other = secrets(
        {name: _another(value) for name, value in store.tenant.items()},
        {name: _another(value) for name, value in store.workspace.items()},
        store.said,
    )
    comparison = Comparison(CATALOGUE, proposed, as_they_are)
    comparison.of(spec, other, platform)
    found = comparison.of(spec, seen, platform)
    for each, catalogue_ in ((found.before, CATALOGUE), (found.after, proposed)):
        alone = outcome_of(
            decide(
                Inputs(
                    workspace_id=WORKSPACE,
                    spec=spec,
                    secrets=seen,
                    catalogue=catalogue_,
                    platform=platform,
                )
            )
        )
        assert shown(each) == shown(alone)


def _another(value: str) -> str:
    """Another key of the same vendor; what is no key stays."""
    is_key = value.startswith(("sk-ant-", "tenant/", "workspace/"))
    return f"{value}-of-somebody-else" if is_key else value
