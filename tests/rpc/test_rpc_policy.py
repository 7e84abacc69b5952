"""The policy table is complete before anything is served."""

from __future__ import annotations

import pytest

from agentworkspace.core.caller import Caller
from agentworkspace.rpc.policy import (
    INFRASTRUCTURE,
    PolicyIncomplete,
    Rule,
    effective_roles,
    method_names,
    require_total,
)
from agentworkspace.server.server import RpcServer, ServerSettings
from tests.rpc.echo_server import (
    COUNT,
    DESCRIPTOR,
    LAUNCH,
    POLICY,
    SAY,
    make_edge,
    mount,
)


def test_a_table_with_a_line_for_every_method_is_total() -> None:
    require_total(POLICY, [DESCRIPTOR])
    require_total({**POLICY, **INFRASTRUCTURE}, [DESCRIPTOR])


def test_a_method_without_a_line_is_named() -> None:
    without = {name: rule for name, rule in POLICY.items() if name != LAUNCH}
    with pytest.raises(PolicyIncomplete, match=f"{LAUNCH} has no line"):
        require_total(without, [DESCRIPTOR])


def test_a_line_without_a_method_is_named() -> None:
    with pytest.raises(PolicyIncomplete, match=r"/edgetest\.v1\.Echo/Old is no method"):
        require_total({**POLICY, "/edgetest.v1.Echo/Old": POLICY[SAY]}, [DESCRIPTOR])


def test_a_server_with_an_incomplete_table_is_not_even_built() -> None:
    with pytest.raises(PolicyIncomplete) as caught:
        RpcServer(ServerSettings(listen="127.0.0.1:0"), make_edge(policy={}), [mount()])
    for method in (SAY, COUNT, LAUNCH):
        assert method in str(caught.value)


def test_methods_are_named_as_on_the_wire() -> None:
    assert method_names([DESCRIPTOR]) == {SAY, COUNT, LAUNCH}


def test_admin_includes_verifier_and_launcher() -> None:
    assert effective_roles(["admin"]) == {"admin", "launcher", "verifier"}
    assert effective_roles(["launcher"]) == {"launcher"}
    operator = Caller("operator", effective_roles(["admin"]), None)
    assert Rule(roles=frozenset({"verifier"})).admits(operator)
    assert not Rule(roles=frozenset({"admin"})).admits(
        Caller("launch", effective_roles(["launcher", "verifier"]), None)
    )


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({}, "lets nobody in"),
        ({"roles": frozenset({"root"})}, "unknown roles"),
        ({"public": True, "any_caller": True}, "looks at no credential"),
        ({"anonymous_allowed": True}, "may come with a token"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Rule(**rule)  # type: ignore[arg-type]  # that is the point
