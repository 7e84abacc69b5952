"""Small values that everything else stands on."""

from __future__ import annotations

import copy
import pickle
from datetime import timedelta

import pytest

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import is_canonical_uuid, is_sha256_hex, is_tenant_id
from agentworkspace.core.refusal import (
    Recovery,
    Refusal,
    SharedReason,
    Violation,
    refuse_shape,
    wrong_shape,
)
from agentworkspace.core.secret import Secret
from provision_service.domain.refusals import REASONS


def test_a_secret_shows_fixed_text_and_reveals_itself_on_demand() -> None:
    secret = Secret("do-not-show")
    assert (str(secret), repr(secret), f"{secret:>3}") == ("<secret>", "<secret>", "<secret>")
    assert secret.reveal() == "do-not-show"


def test_secrets_are_equal_by_text() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


@pytest.mark.parametrize(("text", "blank"), [("", True), (" \t\n", True), (" x", False)])
def test_white_space_alone_is_blank(text: str, blank: bool) -> None:
    assert Secret(text).is_blank() is blank


def test_a_secret_is_not_pickled_or_copied() -> None:
    for attempt in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="never pickled"):
            attempt(Secret("a"))


@pytest.mark.parametrize(
    ("tenants", "tenant", "allowed"),
    [
        (None, "anything", True),
        (frozenset({"a"}), "a", True),
        (frozenset({"a"}), "b", False),
        (frozenset(), "a", False),
    ],
)
def test_a_caller_acts_for_its_tenants_only(
    tenants: frozenset[str] | None, tenant: str, allowed: bool
) -> None:
    caller = Caller("control-plane", frozenset({"launcher"}), tenants)
    assert caller.may_act_for(tenant) is allowed
    if allowed:
        caller.require_tenant(tenant)
    else:
        with pytest.raises(Refusal) as caught:
            caller.require_tenant(tenant)
        assert caught.value.reason is SharedReason.TENANT_FORBIDDEN
        assert caught.value.metadata == {"caller": "control-plane", "tenant_id": tenant}


def test_a_refusal_carries_what_the_edge_needs() -> None:
    refusal = Refusal(
        SharedReason.RATE_LIMITED,
        "too many",
        metadata={"limit": "5"},
        retry_after=timedelta(seconds=2),
        recovery=Recovery.RETRY,
    )
    assert refusal.message == "too many"
    assert str(refusal) == "RATE_LIMITED: too many"
    assert refusal.metadata == {"limit": "5"}
    assert refusal.violations == ()
    assert repr(refusal) == "Refusal(RATE_LIMITED, 'too many')"


def test_a_wrong_shape_is_refused_with_every_violation() -> None:
    refuse_shape([])
    violations = [
        Violation("a", "must be short"),
        Violation("b", "must be plain"),
        Violation("a", "must be one line"),
        Violation("c", "must be 0 or more"),
    ]
    with pytest.raises(Refusal) as caught:
        refuse_shape(violations)
    assert caught.value.reason is SharedReason.INVALID_REQUEST
    assert caught.value.violations == tuple(violations)
    assert caught.value.message == (
        "the request is not well-formed: a must be short; also wrong: b, c"
    )


def test_the_message_of_a_wrong_shape_has_the_rule_of_one_field_alone_just_so() -> None:
    refusal = wrong_shape([Violation("key", "must be short"), Violation("key", "must be plain")])
    assert refusal.message == "the request is not well-formed: key must be short"


def test_a_reason_is_its_own_short_name() -> None:
    assert all(reason.value == reason.name for reason in REASONS)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("6b66de8d-0000-4000-8000-000000000001", True),
        ("6B66DE8D-0000-4000-8000-000000000001", False),
        ("6b66de8d000040008000000000000001", False),
        ("{6b66de8d-0000-4000-8000-000000000001}", False),
        ("6b66de8d-0000-4000-8000-000000000001\n", False),
        (" 6b66de8d-0000-4000-8000-000000000001", False),
        ("urn:uuid:6b66de8d-0000-4000-8000-000000000001", False),
        ("6b66de8d-0000-4000-8000-00000000000٣", False),
        ("", False),
    ],
)
def test_a_uuid_has_one_accepted_spelling(text: str, canonical: bool) -> None:
    assert is_canonical_uuid(text) is canonical


@pytest.mark.parametrize(
    ("text", "good"),
    [("acme", True), ("a.b_c-1", True), ("A" * 128, True), ("A" * 129, False), ("", False),
     ("-a", False), ("a b", False), ("a\n", False), ("*", False),
     (".a", False), ("_a", False), ("a/b", False), ("é", False)],
)  # fmt: skip
def test_a_tenant_id_is_plain_text(text: str, good: bool) -> None:
    assert is_tenant_id(text) is good


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("0" * 64, True),
        ("a" * 64, True),
        ("A" * 64, False),
        ("0" * 63, False),
        ("g" * 64, False),
        ("", False),
        ("0" * 64 + "\n", False),
    ],
)
def test_a_token_hash_is_64_lower_case_hex_digits(text: str, good: bool) -> None:
    assert is_sha256_hex(text) is good
