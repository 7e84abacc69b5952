"""The shapes of identifiers, who may act for whom, and what a refusal carries."""

from __future__ import annotations

from datetime import timedelta

from agentworkspace.core.caller import Caller
from agentworkspace.core.refusal import Recovery, Refusal, SharedReason, Violation
from registry_service.domain.refusals import REASONS


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
