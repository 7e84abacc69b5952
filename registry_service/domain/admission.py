"""Admission: who may register, what a heartbeat is told, and when break-glass opens."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum, unique

from agentworkspace.core.refusal import Recovery, SharedReason
from registry_service.domain.admission_table import LINES, bearer_reason, first_answer
from registry_service.domain.standing import Standing
from registry_service.domain.verdicts import Admitted, Denied, Keep, Verdict


@unique
class NextAction(StrEnum):
    """What a heartbeat tells the box to do."""

    NONE = "NONE"
    REGISTER = "REGISTER"
    STOP = "STOP"


def decide(standing: Standing) -> Verdict:
    """Judge one Register. Total: every standing gets exactly one verdict."""
    if standing.workspace is None:
        return Denied(line=0, reason=SharedReason.WORKSPACE_UNKNOWN, recovery=Recovery.RETRY)
    if standing.workspace.retired:
        return Denied(line=0, reason=SharedReason.WORKSPACE_REMOVED, recovery=Recovery.STOP)
    return first_answer(standing, LINES)


def evidence_recognised(standing: Standing) -> bool:
    """Whether something presented was issued for this workspace.

    Without it a refusal takes no lock and writes nothing.
    """
    return bool(standing.evidence())


def next_action(standing: Standing) -> NextAction | Denied:
    """Answer a heartbeat by the same table; only the bearer counts, and nothing changes."""
    if standing.workspace is None:
        return Denied(line=0, reason=SharedReason.WORKSPACE_UNKNOWN, recovery=Recovery.RETRY)
    if standing.own_instance() is None:
        return Denied(line=0, reason=bearer_reason(standing), recovery=Recovery.REGISTER)
    only_bearer = replace(
        standing,
        ticket_presented=False,
        ticket=None,
        ticket_token=None,
        token_sha256=None,
        hash_owner=None,
        request_id=None,
    )
    verdict = decide(only_bearer)
    if isinstance(verdict, Denied) and verdict.recovery is Recovery.STOP:
        return NextAction.STOP
    alive = isinstance(verdict, Admitted) and isinstance(verdict.act, Keep)
    return NextAction.NONE if alive else NextAction.REGISTER


def break_glass_open(standing: Standing) -> bool:
    """Whether MintToken may hand out an instance token: no ticket outstanding, none live."""
    return standing.outstanding() is None and not standing.live()


def title_of(line: int) -> str:
    """The title to show with a verdict's line."""
    return LINES[line - 1].title if line else "no such workspace, or retired"
