"""Words that are stored, sent or shown: changing one is changing what others rely on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agentworkspace.core.refusal import AnyReason, Recovery, SharedReason
from registry_service.domain.admission import NextAction, title_of
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.liveness import RegistrationState
from registry_service.domain.refusals import Reason
from registry_service.domain.relaunch import RelaunchReason
from registry_service.domain.standing import BootstrapPolicy, Fence
from registry_service.domain.verdicts import Denied

TITLES = {
    "UNKNOWN": "no such workspace",
    "RETIRED": "the workspace was retired",
    "NO_TOKEN": "no instance token of this workspace",
    "LIVE_TOKEN": "live instance token of this workspace",
    "TICKET": "current ticket, outstanding, not fenced",
    "TICKET_AGAIN": "current ticket, redeemed, its token never used, not fenced",
    "REPLAY": "replay of an answer whose token was never used",
    "TICKET_AND_TOKEN": "current ticket, redeemed, token_sha256 of a live token",
    "SUPERSEDED": "older evidence, a newer incarnation has registered",
    "FENCED": "fenced",
    "COMPROMISED": "own instance token revoked as COMPROMISED",
    "NEWER_TICKET": "older evidence, a newer ticket outstanding",
    "ANOTHER_LIVES": "another instance token is live",
    "API_TOKEN": "live api token, no ticket ever issued",
    "TICKET_REDEEMED": "current ticket, redeemed",
    "OWN_TOKEN": "own instance token, revoked from outside",
    "TICKET_EXPIRED": "current ticket, expired unused",
    "TICKET_NEEDED": "a ticket outstanding or ever issued",
    "OPEN_DOOR": "no ticket ever issued",
}

MESSAGES = {
    SharedReason.WORKSPACE_UNKNOWN: "no such workspace here, or not yet",
    SharedReason.WORKSPACE_REMOVED: "the workspace was retired",
    SharedReason.WORKSPACE_SUSPENDED: (
        "the workspace is suspended; an admin lifts that by launching it for the reason RESUME"
    ),
    Reason.BEARER_MISSING: (
        "another token of this workspace is live, and none was presented; only the newest ticket "
        "or a new launch lets a box in past it"
    ),
    SharedReason.BEARER_REJECTED: (
        "the presented token opens nothing here any more; only the newest ticket or a new launch "
        "lets this box in"
    ),
    Reason.INCARNATION_SUPERSEDED: "a newer incarnation of the workspace was launched",
    Reason.TICKET_REQUIRED: "only the bootstrap ticket of a new launch admits here",
    Reason.TICKET_EXPIRED: "the bootstrap ticket expired before it was used; launch once more",
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


@pytest.mark.parametrize("line", AdmissionLine)
def test_a_line_is_shown_with_its_title(line: AdmissionLine) -> None:
    assert title_of(line) == TITLES[line]


def test_the_reasons_to_relaunch_are_those_of_the_contract() -> None:
    assert [reason.value for reason in RelaunchReason] == [
        *("SILENT", "TICKET_UNUSED", "NEWEST_REFUSED", "RESTORED"),
    ]


@pytest.mark.parametrize(("reason", "message"), MESSAGES.items())
def test_a_denial_is_refused_in_these_words(reason: AnyReason, message: str) -> None:
    wait = timedelta(seconds=7)
    denied = Denied(
        line=AdmissionLine.NEWER_TICKET, reason=reason, recovery=Recovery.RETRY, retry_after=wait
    )
    refusal = denied.refusal()
    assert (refusal.reason, refusal.message, refusal.recovery) == (reason, message, Recovery.RETRY)
    assert (refusal.metadata, refusal.retry_after) == ({"line": "NEWER_TICKET"}, wait)
