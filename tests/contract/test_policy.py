"""Every method of either service has one line that says who may call it, as its comment does."""

from __future__ import annotations

import re

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from agentworkspace.rpc.policy import INFRASTRUCTURE, Rule, method_names, require_total
from tests.contract.contracts import BOTH, PROVISION, REGISTRY, ROOT, Contract

METHODS = [(each, name) for each in BOTH for name in sorted(method_names(each.services))]

# What a comment says behind `Caller:`, by its beginning; the longest that fits counts.
CALLERS = {
    "launcher": ({"launcher"}, ""),
    "admin, launcher": ({"launcher"}, ""),
    "verifier": ({"verifier"}, ""),
    "admin": ({"admin"}, ""),
    "admin of all tenants": ({"admin"}, ""),
    "admin, or the api token itself": ({"admin"}, "bearer"),
    "admin, or the token itself": ({"admin"}, "bearer"),
    "the box": (set(), "bearer"),
    "anybody who is authenticated": (set(), "any caller, bearer"),
    "any caller of the credentials file": (set(), "any caller"),
    "any live workspace token": (set(), "bearer, nothing"),
}


def let_in(rule: Rule) -> tuple[set[str], str]:
    allowed = (
        (rule.any_caller, "any caller"),
        (rule.bearer_allowed, "bearer"),
        (rule.anonymous_allowed, "nothing"),
    )
    return set(rule.roles), ", ".join(text for is_allowed, text in allowed if is_allowed)


@pytest.mark.parametrize("contract", BOTH, ids=str)
def test_every_method_has_a_line_and_every_line_a_method(contract: Contract) -> None:
    require_total(contract.policy, contract.services)
    assert set(contract.policy) == method_names(contract.services) | set(INFRASTRUCTURE)


@pytest.mark.parametrize("contract", BOTH, ids=str)
def test_every_method_of_the_protoset_is_served(contract: Contract) -> None:
    """The table cannot forget a service: the protoset comes from the protos themselves."""
    files = FileDescriptorSet.FromString((ROOT / "protos/agentworkspace.protoset").read_bytes())
    declared = {
        f"/{file.package}.{service.name}/{method.name}"
        for file in files.file
        if file.package == contract.package
        for service in file.service
        for method in service.method
    }
    assert declared == set(contract.policy) - set(INFRASTRUCTURE)


@pytest.mark.parametrize("contract", BOTH, ids=str)
def test_only_health_and_reflection_are_public(contract: Contract) -> None:
    public = {name for name, rule in contract.policy.items() if rule.public}
    assert public == set(INFRASTRUCTURE)


@pytest.mark.parametrize(("contract", "method"), METHODS, ids=str)
def test_the_line_lets_in_whom_the_comment_names(contract: Contract, method: str) -> None:
    said = re.search(r"Caller: (.*?) Idempotency:", contract.documented_methods()[method])
    assert said is not None, "the comment says nobody"
    roles, others = CALLERS[max((each for each in CALLERS if said[1].startswith(each)), key=len)]
    if contract is REGISTRY and said[1].startswith("the box"):
        # It may have lost everything: the command alone words what to do next.
        others = "bearer, nothing"
    assert let_in(contract.policy[method]) == (roles, others)


@pytest.mark.parametrize(("contract", "method"), METHODS, ids=str)
def test_a_comment_answers_called_twice_and_what_fails(contract: Contract, method: str) -> None:
    comment = contract.documented_methods()[method]
    assert re.search(r"Idempotency: \w", comment)
    errors = re.search(r"Errors: (.*)", comment)
    assert errors is not None
    # What stands in parentheses says when; behind `for a token as caller` other reasons follow.
    plain = re.sub(r"\([^()]*\)", "", errors[1])
    items = (each.strip() for each in re.split(r"[,;.]| and | or ", plain))
    named = {each for each in items if re.fullmatch(r"[A-Z]+(?:_[A-Z]+)*", each)}
    assert named <= {reason.value for reason in contract.reasons}


@pytest.mark.parametrize(("contract", "method"), METHODS, ids=str)
def test_a_request_id_is_promised_where_the_request_has_one(
    contract: Contract, method: str
) -> None:
    service, _, name = method.rpartition("/")
    found = next(each for each in contract.services if f"/{each.full_name}" == service)
    request = found.methods_by_name[name].input_type
    comment = contract.documented_methods()[method]
    said = re.search(r"Idempotency: (.*?) Errors:", comment)
    assert said is not None
    if said[1].startswith("request_id"):
        assert "request_id" in request.fields_by_name
    if said[1].startswith("read only"):
        assert "request_id" not in request.fields_by_name


def test_boxes_and_verifiers_wait_in_queues_of_their_own() -> None:
    def crowds(contract: Contract) -> set[str]:
        return {name.rpartition("/")[2] for name, rule in contract.policy.items() if rule.crowd}

    assert crowds(REGISTRY) == {
        "Register",
        "Heartbeat",
        "UpdateCard",
        "Deregister",
        "WhoAmI",
        "ValidateToken",
        "BatchValidateTokens",
        "WatchRevocations",
    }
    assert crowds(PROVISION) == {
        "GetSecretValues",
        "ListProviders",
        "ListRuntimes",
        "ListModels",
        "DeriveProvider",
    }
