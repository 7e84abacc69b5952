"""Words that are stored, sent or shown: changing one is changing what others rely on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agentworkspace.core.refusal import AnyReason, Recovery, SharedReason
from registry_service.domain.admission import NextAction, title_of
from registry_service.domain.admission_table import LINES
from registry_service.domain.liveness import RegistrationState
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import BootstrapPolicy, Fence
from registry_service.domain.verdicts import Denied

TITLES = {
    0: "no such workspace, or retired",
    1: "live instance token of this workspace",
    2: "current ticket, outstanding",
    3: "current ticket, redeemed, its token never used, not fenced",
    4: "replay of an answer whose token was never used",
    5: "current ticket, redeemed, token_sha256 of a live token",
    6: "own instance token revoked as COMPROMISED",
    7: "older evidence, a newer incarnation has registered",
    8: "older evidence, a newer ticket outstanding",
    9: "another instance token is live",
    10: "fenced",
    11: "live api token, no ticket ever issued",
    12: "current ticket, redeemed",
    13: "own instance token, expired or revoked from outside",
    14: "current ticket, expired unused",
    15: "a ticket outstanding or ever issued",
    16: "no ticket ever issued",
}

MESSAGES = {
    SharedReason.WORKSPACE_UNKNOWN: "no such workspace here, or not yet",
    SharedReason.WORKSPACE_REMOVED: "the workspace was retired",
    Reason.WORKSPACE_SUSPENDED: "the workspace was suspended; a new launch lifts that",
    Reason.BEARER_MISSING: "the workspace has a live instance token, and none was presented",
    SharedReason.BEARER_REJECTED: "the bearer shown is no live instance token of this workspace",
    Reason.INCARNATION_SUPERSEDED: "a newer incarnation of the workspace was launched",
    Reason.TICKET_REQUIRED: "only the bootstrap ticket of a new launch admits here",
    Reason.TICKET_EXPIRED: "the bootstrap ticket expired before it was used",
    SharedReason.TOKEN_HASH_IN_USE: "token_sha256 belongs to another token; make a new secret",
    SharedReason.REQUEST_ID_REUSED: "request_id was used with another token_sha256",
}


def test_the_words_of_the_domain_are_those_of_the_contract() -> None:
    assert [action.value for action in NextAction] == ["NONE", "REGISTER", "STOP"]
    assert [policy.value for policy in BootstrapPolicy] == ["adaptive", "open", "strict"]
    assert [fence.value for fence in Fence] == ["COMPROMISED", "SUSPENDED"]
    assert [state.value for state in RegistrationState] == [
        *("PENDING", "ONLINE", "DEGRADED", "OFFLINE", "REMOVED"),
    ]


@pytest.mark.parametrize(("line", "title"), TITLES.items())
def test_a_line_is_shown_with_its_title(line: int, title: str) -> None:
    assert title_of(line) == title


def test_the_lines_are_numbered_as_they_stand() -> None:
    assert [line.number for line in LINES] == list(range(1, 17))


@pytest.mark.parametrize(("reason", "message"), MESSAGES.items())
def test_a_denial_is_refused_in_these_words(reason: AnyReason, message: str) -> None:
    wait = timedelta(seconds=7)
    denied = Denied(line=8, reason=reason, recovery=Recovery.RETRY, retry_after=wait)
    refusal = denied.refusal()
    assert (refusal.reason, refusal.message, refusal.recovery) == (reason, message, Recovery.RETRY)
    assert (refusal.metadata, refusal.retry_after) == ({"line": "8"}, wait)
