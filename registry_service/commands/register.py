"""Register: admits a box, or says what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from agentworkspace.core.ids import RequestId, TokenId, WorkspaceId
from agentworkspace.core.refusal import Recovery, Refusal, SharedReason
from agentworkspace.core.secret import Secret
from registry_service.commands import evidence
from registry_service.commands.admitting import Admission
from registry_service.commands.evidence import Presented
from registry_service.commands.issued import NewSecret
from registry_service.commands.origin import Origin
from registry_service.domain.admission import decide, evidence_recognised
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.standing import BootstrapPolicy, Standing
from registry_service.domain.tokens import (
    Outcome,
    Token,
)
from registry_service.domain.verdicts import Admitted, Denied, Mint
from registry_service.storage import tokens, workspaces
from registry_service.storage.registrations import Arrival
from registry_service.storage.store import Store

# Far above what a box does that rotates, restarts or loses answers.
MOST_MINTED: Final = 30
MINTED_WITHIN: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    origin: Origin
    workspace_id: WorkspaceId
    policy: BootstrapPolicy
    bearer: Secret | None = None
    ticket: Secret | None = None
    token_sha256: bytes | None = None
    request_id: RequestId | None = None
    # Empty or None keeps what was known.
    url: str = ""
    delivery_mode: str = ""
    agent_card: Mapping[str, object] | None = None
    runtime: str = ""
    runtime_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    outcome: Outcome
    # The token that stands for this box now.
    token: Token
    # The secret, when the server made one for this answer.
    auth_token: Secret | None
    incarnation: int
    # Of the admission table, the line that answered.
    line: AdmissionLine
    # Nothing that was issued for this workspace was shown: for the metric of open admissions.
    without_evidence: bool
    # The database's, for `flush_last_uses`.
    time: datetime


class RegisterRefused(Refusal):
    """A refused Register, with what `flush_rejected_registers` wants to know of it."""

    workspace_id: WorkspaceId
    line: AdmissionLine
    # The ticket of the newest launch, if its holder was told RELAUNCH: what counts for
    # `needs_relaunch`.
    newest_ticket: TokenId | None
    # The newest incarnation then; 0 when the workspace is unknown.
    incarnation: int
    time: datetime

    def __init__(
        self,
        denied: Denied,
        *,
        workspace_id: WorkspaceId,
        standing: Standing,
    ) -> None:
        told = denied.refusal()
        facts: dict[str, str] = {"workspace_id": workspace_id}
        recognised = evidence_recognised(standing)
        incarnation = standing.workspace.incarnation if standing.workspace else 0
        # How often a workspace was launched is no stranger's business.
        if incarnation and recognised:
            facts["incarnation"] = str(incarnation)
        super().__init__(
            told.reason,
            told.message,
            metadata=dict(told.metadata) | facts,
            retry_after=told.retry_after,
            recovery=told.recovery,
            recognised=recognised,
        )
        self.workspace_id = workspace_id
        self.line = denied.line
        newest = standing.presented_current()
        told_so = denied.recovery is Recovery.RELAUNCH
        self.newest_ticket = newest.token_id if newest and told_so else None
        self.incarnation = incarnation
        self.time = standing.now


def run(store: Store, command: Register, *, new_secret: NewSecret) -> Registered:
    """Refusals: RegisterRefused, whose reasons are those of the admission table; RATE_LIMITED."""
    presented = presented_by(command)
    require_admissible(store, command)
    with store.transaction() as tx:
        workspaces.lock(tx, command.workspace_id)
        # Whether a token was ever used decides much: nobody uses one first from here on.
        tokens.lock_instance_tokens(tx, command.workspace_id)
        standing = evidence.standing(tx, presented)
        admitted = _admitted(standing, command)
        _require_pace(tx, admitted, standing)
        arrival = arrival_of(
            command,
            admitted.incarnation,
            by_newest_ticket=standing.presented_current() is not None,
        )
        admission = Admission(
            tx, standing, admitted, arrival, command.origin, ticket=command.ticket
        )
        carried = admission.carry_out(new_secret)
        if carried is None:
            raise _refused(_hash_in_use(admitted), standing, command)
    token, auth_token = carried
    return Registered(
        outcome=admitted.outcome,
        token=token,
        auth_token=auth_token,
        incarnation=admitted.incarnation,
        line=admitted.line,
        without_evidence=not evidence_recognised(standing),
        time=standing.now,
    )


def require_admissible(store: Store, command: Register) -> None:
    """RegisterRefused as `run` would raise it now: no lock taken, nothing written, so that a
    stranger can slow nobody.
    """
    with store.reading() as tx:
        _admitted(evidence.standing(tx, presented_by(command)), command)


def _require_pace(tx: Connection, admitted: Admitted, standing: Standing) -> None:
    """A box that takes one token after the other fills the tables, and the feed with their ends.

    The newest ticket's first use passes, or whoever holds a token could keep the next box out.
    """
    act = admitted.act
    if not isinstance(act, Mint) or act.redeem_ticket is not None or standing.workspace is None:
        return
    workspace_id = standing.workspace.workspace_id
    since = standing.now - MINTED_WITHIN
    if tokens.count_instance_tokens(tx, workspace_id, since=since) >= MOST_MINTED:
        raise Refusal(
            SharedReason.RATE_LIMITED,
            f"this box took {MOST_MINTED} tokens within a minute; stay with the last one, and"
            " come back later",
            metadata={"workspace_id": workspace_id},
            retry_after=MINTED_WITHIN / MOST_MINTED,
        )


def _hash_in_use(admitted: Admitted) -> Denied:
    """Another workspace was faster with the same hash."""
    return Denied(
        line=admitted.line, reason=SharedReason.TOKEN_HASH_IN_USE, recovery=Recovery.FIX_REQUEST
    )


def presented_by(command: Register) -> Presented:
    return Presented(
        workspace_id=command.workspace_id,
        policy=command.policy,
        bearer=command.bearer,
        ticket=command.ticket,
        token_sha256=command.token_sha256,
        request_id=command.request_id,
    )


def arrival_of(command: Register, incarnation: int, *, by_newest_ticket: bool) -> Arrival:
    return Arrival(
        workspace_id=command.workspace_id,
        incarnation=incarnation,
        url=command.url,
        delivery_mode=command.delivery_mode,
        agent_card=command.agent_card,
        runtime=command.runtime,
        runtime_version=command.runtime_version,
        by_newest_ticket=by_newest_ticket,
    )


def _admitted(standing: Standing, command: Register) -> Admitted:
    verdict = decide(standing)
    if isinstance(verdict, Denied):
        raise _refused(verdict, standing, command)
    return verdict


def _refused(denied: Denied, standing: Standing, command: Register) -> RegisterRefused:
    return RegisterRefused(denied, workspace_id=command.workspace_id, standing=standing)
