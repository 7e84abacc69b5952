"""The shapes of identifiers, who may act for whom, and what a refusal carries."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import (
    parse_request_id,
    parse_sha256,
    parse_tenant_id,
    parse_token_id,
    parse_workspace_id,
)
from agentworkspace.core.refusal import Recovery, Refusal, SharedReason, Violation
from registry_service.domain.refusals import REASONS

SOUND = "5b3c1c1e-0a1b-4c2d-8e3f-000000000001"
NOT_A_UUID = [
    "",
    "x",
    SOUND.upper(),
    SOUND.replace("-", ""),
    f"{{{SOUND}}}",
    f"urn:uuid:{SOUND}",
    SOUND + "\n",
    f" {SOUND}",
    "5b3c1c1e-0a1b-4c2d-8e3f-00000000000٣",
]


def test_a_canonical_uuid_passes_as_it_is() -> None:
    assert parse_workspace_id(SOUND) == SOUND
    assert parse_token_id(SOUND) == SOUND
    assert parse_request_id(SOUND) == SOUND


@pytest.mark.parametrize("text", NOT_A_UUID)
def test_any_other_spelling_is_a_violation_of_its_field(text: str) -> None:
    wanted = "must be a UUID in canonical lower-case form"
    assert parse_workspace_id(text) == Violation("workspace_id", wanted)
    assert parse_token_id(text) == Violation("token_id", wanted)
    assert parse_request_id(text) == Violation("request_id", wanted)
    assert parse_workspace_id(text, "parent_id") == Violation("parent_id", wanted)


@pytest.mark.parametrize("text", ["a", "0", "acme", "Acme-1.prod_eu", "a" * 128])
def test_a_tenant_id_is_a_short_plain_name(text: str) -> None:
    assert parse_tenant_id(text) == text


@pytest.mark.parametrize("text", ["", "-a", ".a", "_a", "a b", "a/b", "é", "a\n", "*", "a" * 129])
def test_anything_else_is_no_tenant_id(text: str) -> None:
    assert parse_tenant_id(text) == Violation(
        "tenant_id", "must be 1 to 128 of A-Z a-z 0-9 . _ - and start with a letter or a digit"
    )


def test_a_hash_is_64_lower_case_digits() -> None:
    assert parse_sha256("00ff" * 16) == bytes([0, 255] * 16)
    assert parse_sha256("ab" * 32, "ticket_sha256") == b"\xab" * 32


@pytest.mark.parametrize("text", ["", "ab" * 31, "ab" * 33, "AB" * 32, "zz" * 32, "ab" * 32 + "\n"])
def test_any_other_hash_is_a_violation(text: str) -> None:
    assert parse_sha256(text) == Violation(
        "token_sha256", "must be a SHA-256 as 64 lower-case hexadecimal digits"
    )


def test_a_caller_acts_for_its_own_tenants_or_for_all() -> None:
    some = Caller("launcher-1", frozenset({"launcher"}), frozenset({"acme"}))
    assert some.may_act_for("acme")
    assert not some.may_act_for("other")
    assert not Caller("nobody", frozenset(), frozenset()).may_act_for("acme")
    assert Caller("admin", frozenset({"admin"}), None).may_act_for("other")


def test_a_refusal_says_why_and_what_next() -> None:
    refusal = Refusal(
        SharedReason.OVERLOADED,
        "too much at once",
        metadata={"limit": "5"},
        violations=[Violation("a", "b")],
        retry_after=timedelta(seconds=2),
        recovery=Recovery.RETRY,
    )
    assert str(refusal) == "OVERLOADED: too much at once"
    assert refusal.message == "too much at once"
    assert refusal.metadata == {"limit": "5"}
    assert refusal.violations == (Violation("a", "b"),)
    assert (refusal.retry_after, refusal.recovery) == (timedelta(seconds=2), Recovery.RETRY)


def test_a_reason_is_spelt_like_its_name() -> None:
    assert {reason.name for reason in REASONS} == {reason.value for reason in REASONS}
    assert {recovery.value for recovery in Recovery} == {
        "REGISTER",
        "RETRY",
        "RELAUNCH",
        "STOP",
        "FIX_REQUEST",
    }
