"""Every method of every service has one line that says who may call it."""

from __future__ import annotations

import pytest

from agentworkspace.registry.v1 import (
    audit_service_pb2,
    registration_service_pb2,
    token_service_pb2,
    workspace_registry_service_pb2,
)
from agentworkspace.rpc.policy import INFRASTRUCTURE, method_names, require_total
from registry_service.api.policy import POLICY, SERVICES

FILES = (
    audit_service_pb2.DESCRIPTOR,
    registration_service_pb2.DESCRIPTOR,
    token_service_pb2.DESCRIPTOR,
    workspace_registry_service_pb2.DESCRIPTOR,
)


def test_every_service_of_the_package_is_served() -> None:
    declared = {service.full_name for file in FILES for service in file.services_by_name.values()}
    assert {service.full_name for service in SERVICES} == declared


def test_the_table_is_total_and_names_nothing_else() -> None:
    require_total(POLICY, SERVICES)
    assert set(POLICY) == method_names(SERVICES) | set(INFRASTRUCTURE)


def test_only_health_and_reflection_are_public() -> None:
    assert {name for name, rule in POLICY.items() if rule.public} == set(INFRASTRUCTURE)


ROLES = {
    "MintToken": {"admin"},
    "RotateToken": {"admin"},
    "ListTokens": {"launcher"},
    "RevokeToken": {"admin"},
    "RevokeWorkspaceTokens": {"admin"},
    "ValidateToken": {"verifier"},
    "BatchValidateTokens": {"verifier"},
    "WatchRevocations": {"verifier"},
    "Register": set(),
    "Heartbeat": set(),
    "UpdateCard": set(),
    "Deregister": set(),
    "WhoAmI": set(),
    "AdmitWorkspace": {"launcher"},
    "BeginIncarnation": {"launcher"},
    "GetRegistration": {"launcher"},
    "ListRegistrations": {"launcher"},
    "RetireWorkspace": {"launcher"},
    "Diagnose": {"launcher"},
    "ListAuditEvents": {"admin"},
}


@pytest.mark.parametrize("method", sorted(method_names(SERVICES)))
def test_the_roles_are_those_of_the_contract(method: str) -> None:
    assert POLICY[method].roles == ROLES[method.rpartition("/")[2]]


def test_a_workspace_token_opens_only_what_the_contract_gives_it() -> None:
    opened = {name.rpartition("/")[2] for name, rule in POLICY.items() if rule.bearer_allowed}
    assert opened == {
        "Register",
        "Heartbeat",
        "UpdateCard",
        "Deregister",
        "WhoAmI",
        "RotateToken",
        "RevokeToken",
    }


def test_nothing_at_all_reaches_only_the_methods_of_the_box() -> None:
    opened = {name.rpartition("/")[2] for name, rule in POLICY.items() if rule.anonymous_allowed}
    assert opened == {"Register", "Heartbeat", "UpdateCard", "Deregister", "WhoAmI"}
