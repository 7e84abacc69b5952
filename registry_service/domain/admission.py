"""Admission: who may register, what a heartbeat is told, and when an admin may mint by hand."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum, unique
from typing import Final

from agentworkspace.core.refusal import AnyReason, Recovery, SharedReason
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.admission_table import LINES, bearer_reason, first_answer
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import Standing
from registry_service.domain.verdicts import Admitted, Denied, Keep, Verdict

_TITLES: Final = {line.name: line.title for line in LINES} | {
    AdmissionLine.UNKNOWN: "no such workspace",
    AdmissionLine.RETIRED: "the workspace was retired",
    AdmissionLine.NO_TOKEN: "no instance token of this workspace",
}
_PLACES: Final = {line.name: place for place, line in enumerate(LINES, 1)}


@unique
class NextAction(StrEnum):
    """What a heartbeat tells the box to do."""

    NONE = "NONE"
    REGISTER = "REGISTER"
    STOP = "STOP"


def decide(standing: Standing) -> Verdict:
    """Judge one Register. Total: every standing gets exactly one verdict."""
    if standing.workspace is None:
        return Denied(
            line=AdmissionLine.UNKNOWN,
            reason=SharedReason.WORKSPACE_UNKNOWN,
            recovery=Recovery.RETRY,
        )
    if standing.workspace.retired:
        return Denied(
            line=AdmissionLine.RETIRED,
            reason=SharedReason.WORKSPACE_REMOVED,
            recovery=Recovery.STOP,
        )
    return first_answer(standing, LINES)


def evidence_recognised(standing: Standing) -> bool:
    """Whether something that was presented had been issued for this workspace.

    Refusals of anybody else are rate-limited, and tell nothing about the workspace's launches.
    """
    return bool(standing.evidence())


def next_action(standing: Standing) -> NextAction | Denied:
    """Answer a heartbeat by the same table. Only its bearer counts, and nothing is changed."""
    if standing.workspace is None:
        return Denied(
            line=AdmissionLine.UNKNOWN,
            reason=SharedReason.WORKSPACE_UNKNOWN,
            recovery=Recovery.RETRY,
        )
    if standing.own_instance() is None:
        return Denied(
            line=AdmissionLine.NO_TOKEN,
            reason=bearer_reason(standing),
            recovery=Recovery.REGISTER,
            message="a heartbeat needs a live instance token of this workspace; register first",
        )
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


def break_glass_refusal(standing: Standing) -> AnyReason | None:
    """Why MintToken may not hand out an instance token (the emergency way in); None when it may.

    It may when no instance token is live, no ticket is outstanding and no fence stands.
    """
    workspace = standing.workspace
    if workspace is not None and workspace.suspended:
        return SharedReason.WORKSPACE_SUSPENDED
    if workspace is not None and workspace.compromised:
        return SharedReason.INCARNATION_FENCED
    if standing.outstanding() is not None or standing.live():
        return Reason.INSTANCE_TOKEN_EXISTS
    return None


def title_of(line: AdmissionLine) -> str:
    """The words to show with a verdict's line."""
    return _TITLES[line]


def place_of(line: AdmissionLine) -> int:
    """Where the line stands in the table, from 1; 0 for a line that is not in the table."""
    return _PLACES.get(line, 0)
