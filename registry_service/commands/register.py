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

# Far more than a box needs that rotates, restarts and loses answers.
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
    # From here on, an empty text or None keeps what is stored.
    url: str = ""
    delivery_mode: str = ""
    agent_card: Mapping[str, object] | None = None
    runtime: str = ""
    runtime_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    outcome: Outcome
    # The token that the box now has.
    token: Token
    # Its secret, if the server made one for this answer.
    auth_token: Secret | None
    incarnation: int
    # The line of the admission table that answered.
    line: AdmissionLine
    # Nothing was shown that had been issued for this workspace; there is a metric of these.
    without_evidence: bool
    # When it was decided, by the database's clock, for `flush_last_uses`.
    time: datetime


class RegisterRefused(Refusal):
    """A refused Register, with the facts that `flush_rejected_registers` writes."""

    workspace_id: WorkspaceId
    line: AdmissionLine
    # The ticket of the newest launch, if its holder was told RELAUNCH, which counts for
    # `needs_relaunch`; else None.
    newest_ticket: TokenId | None
    # The workspace's newest incarnation; 0 when the workspace is unknown.
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
        # Strangers are not told how often a workspace was launched.
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
    """Refusals: RATE_LIMITED, and those of the admission table, as RegisterRefused."""
    presented = presented_by(command)
    require_admissible(store, command)
    with store.transaction() as tx:
        workspaces.lock(tx, command.workspace_id)
        # Much depends on whether a token was ever used: from here on nobody can write a first use.
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
    """Raise the RegisterRefused that `run` would raise now. This takes no lock and writes nothing,
    so that a stranger slows nobody down.
    """
    with store.reading() as tx:
        _admitted(evidence.standing(tx, presented_by(command)), command)


def _require_pace(tx: Connection, admitted: Admitted, standing: Standing) -> None:
    """Refusal RATE_LIMITED for a box that takes one token after the other, which would fill the
    tables and the feed.

    The first use of the newest ticket is never refused, or a box could keep its successor out.
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
    """The refusal when another workspace stored the same hash in the meantime."""
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
