"""A key of its own for every box at the proxy: made of the ticket, by whoever has it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import TokenKind, assemble, derive_proxy_token
from provision_service.domain.decision import Decision
from provision_service.domain.plan import EnvironmentPlan, LaunchFacts, materialize
from provision_service.domain.platform_proxy import PlatformProxy
from tests.domain.provision_launches import PROXY, WORKSPACE, launch, reason, warnings

TICKET = assemble(TokenKind.TICKET, bytes(range(32)))
PER_BOX = PROXY.for_boxes()
EVERY = [
    ("claude-code", "anthropic/claude-opus-4-7", {"ANTHROPIC_API_KEY"}),
    ("codex", "openai/gpt-5.4", {"OPENAI_API_KEY"}),
    ("hermes", "moonshot/kimi-k2.6", set()),
    ("openclaw", "moonshot/kimi-k2.6", set()),
    ("google-adk", "platform:gemini-2.5-pro", {"OPENAI_API_KEY"}),
]


def started(decision: Decision, ticket: Secret = TICKET, incarnation: int = 7) -> EnvironmentPlan:
    """The environment of one launch."""
    assert decision.plan is not None, decision.refusal
    facts = LaunchFacts(
        workspace_id=WORKSPACE,
        incarnation=incarnation,
        bootstrap_ticket=ticket,
        registry_address="registry.test:7101",
    )
    return materialize(decision.plan, facts)


@pytest.mark.parametrize(("runtime", "model", "names"), EVERY)
def test_the_platforms_key_is_the_incarnations_own_under_every_name(
    runtime: str, model: str, names: set[str]
) -> None:
    env = started(launch(runtime, model, platform=PER_BOX)).reveal()
    token = derive_proxy_token(TICKET, WORKSPACE, 7).reveal()
    holders = {name for name, value in env.items() if value == token}
    assert holders == names | {"MOLECULE_LLM_USAGE_TOKEN"}
    assert token.startswith("awp_")
    assert not [value for value in env.values() if "usage-token" in value or "made at" in value]


def test_another_launch_has_another_key() -> None:
    decision = launch("codex", "openai/gpt-5.4", platform=PER_BOX)
    first, second = (started(decision, incarnation=number).reveal() for number in (1, 2))
    assert first["OPENAI_API_KEY"] != second["OPENAI_API_KEY"]


def test_no_tenants_usage_token_is_needed_or_gated_on() -> None:
    bare = PlatformProxy(base_url="https://llm.platform.test/v1", usage_token_unreadable=True)
    assert reason(launch("codex", "openai/gpt-5.4", platform=bare.for_boxes())) is None
    assert reason(launch("codex", "openai/gpt-5.4", platform=bare)) == "SECRET_UNDECRYPTABLE"
    nowhere = replace(PER_BOX, base_url=None)
    assert reason(launch("codex", "openai/gpt-5.4", platform=nowhere)) == "MISSING_PLATFORM_PROXY"


def test_a_ticket_of_a_foreign_format_leaves_the_box_without_a_key() -> None:
    decision = launch("codex", "openai/gpt-5.4", platform=PER_BOX)
    env = started(decision, ticket=Secret("a-ticket-of-another-registry")).reveal()
    assert "MOLECULE_LLM_USAGE_TOKEN" not in env
    assert "OPENAI_API_KEY" not in env
    assert "made at the launch" not in env.values()


def test_who_pays_itself_is_not_concerned() -> None:
    own = {"OPENAI_API_KEY": "own"}
    decision = launch("codex", "gpt-5.5", tenant=own, platform=PER_BOX)
    env = started(decision).reveal()
    assert env["OPENAI_API_KEY"] == "own"
    assert not [value for value in env.values() if value.startswith("awp_")]


def test_the_manifest_says_that_the_key_came_with_the_launch() -> None:
    plan = started(launch("codex", "openai/gpt-5.4", platform=PER_BOX))
    origins = {name: origin.value for name, origin, _ in plan.manifest()}
    assert origins["MOLECULE_LLM_USAGE_TOKEN"] == origins["OPENAI_API_KEY"] == "registry"
    assert origins["OPENAI_BASE_URL"] == "platform"


def test_the_token_names_the_workspace_so_that_no_header_is_missed() -> None:
    assert warnings(launch("codex", "openai/gpt-5.4", platform=PER_BOX)) == []
