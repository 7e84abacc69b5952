"""For Diagnose: each kind of evidence that a box might hold, and what Register would see of it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from registry_service.domain.standing import BootstrapPolicy, Standing, Workspace
from registry_service.domain.tokens import Token, TokenKind
from registry_service.storage import standings, tokens
from registry_service.storage.standings import Shown
from registry_service.storage.tokens import Specimen


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    words: str
    bearer_presented: bool = False
    bearer: Token | None = None
    ticket: Token | None = None


NOTHING = Evidence(words="nothing")
UNKNOWN = Evidence(words="a bearer nobody knows", bearer_presented=True)


def held(tx: Connection, workspace: Workspace) -> list[Evidence]:
    """One piece of each kind of evidence: the newest stands for its kind."""
    specimens = tokens.specimens(tx, workspace.workspace_id, workspace.incarnation)
    return [NOTHING, *map(_evidence, specimens), UNKNOWN]


def standing(
    tx: Connection, workspace: Workspace, evidence: Evidence, policy: BootstrapPolicy
) -> Standing:
    """The standing that Register would see, without token_sha256 and request_id."""
    ticket_sha256 = evidence.ticket.token_sha256 if evidence.ticket else None
    shown = Shown(workspace_id=workspace.workspace_id, ticket=ticket_sha256)
    (seen,) = standings.snapshots(tx, [shown])
    return Standing(
        workspace=seen.workspace,
        policy=policy,
        now=seen.now,
        bearer_presented=evidence.bearer_presented,
        bearer=evidence.bearer,
        ticket_presented=evidence.ticket is not None,
        ticket=evidence.ticket,
        ticket_token=seen.ticket_token,
        current_ticket=seen.current_ticket,
        live_instance_tokens=seen.live_instance_tokens,
    )


def _evidence(specimen: Specimen) -> Evidence:
    token = specimen.token
    age = " of an earlier launch" if specimen.earlier else ""
    if token.kind is TokenKind.TICKET:
        return Evidence(words=f"the ticket{age or ' of the newest launch'}", ticket=token)
    life = "a dead" if specimen.dead else "a live"
    words = f"{life} {token.kind.lower()} token{age}"
    return Evidence(words=words, bearer_presented=True, bearer=token)
