"""Register for many boxes at once that show an outstanding ticket: four statements, one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.secret import Secret
from registry_service.commands import evidence
from registry_service.commands.issued import NewSecret
from registry_service.commands.register import Register, Registered, arrival_of, presented_by
from registry_service.domain.admission import decide
from registry_service.domain.standing import Standing
from registry_service.domain.tokens import Token, TokenKind, display_prefix, token_sha256
from registry_service.domain.verdicts import Admitted, Mint
from registry_service.storage import redeeming, registrations
from registry_service.storage.redeeming import Redemption
from registry_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """A box that the table lets in by its ticket; its workspace is locked."""

    command: Register
    standing: Standing
    admitted: Admitted
    redemption: Redemption
    # None when the box made it.
    secret: Secret | None


def run(
    store: Store, commands: Sequence[Register], *, new_secret: NewSecret
) -> list[Registered | None]:
    """One answer each, in order. None: nothing was done; run `register` for it alone.

    None is answered wherever `register` would refuse, repeat an answer or wait for a lock.
    """
    with store.transaction() as tx:
        boxes = _let_in(tx, commands, new_secret)
        minted = redeeming.redeem(tx, [box.redemption for box in boxes.values()]) if boxes else {}
        arrivals = [
            arrival_of(box.command, box.admitted.incarnation, by_newest_ticket=True)
            for box in boxes.values()
            if box.command.workspace_id in minted
        ]
        if arrivals:
            registrations.arrive(tx, arrivals, alone=True)
    return [
        _registered(boxes[place], minted[command.workspace_id])
        if place in boxes and command.workspace_id in minted
        else None
        for place, command in enumerate(commands)
    ]


def _let_in(tx: Connection, commands: Sequence[Register], new_secret: NewSecret) -> dict[int, _Box]:
    """The boxes that the table lets in by their ticket, by their place in `commands`."""
    places = _locked(tx, commands)
    if not places:
        return {}
    presented = [presented_by(commands[place]) for place in places]
    standings = evidence.standings_of(tx, presented)
    boxes: dict[int, _Box] = {}
    for place, standing in zip(places, standings, strict=True):
        box = _box(commands[place], standing, new_secret)
        if box:
            boxes[place] = box
    return boxes


def _locked(tx: Connection, commands: Sequence[Register]) -> list[int]:
    """Lock workspaces whose ticket is outstanding. Returns the places of their commands: one for
    each workspace that no other transaction holds.
    """
    shown: dict[WorkspaceId, tuple[int, bytes]] = {}
    for place, command in enumerate(commands):
        ticket = evidence.hash_of(command.ticket)
        if ticket is not None:
            shown.setdefault(command.workspace_id, (place, ticket))
    tickets = [(workspace_id, ticket) for workspace_id, (_, ticket) in shown.items()]
    locked = redeeming.lock(tx, tickets) if tickets else frozenset()
    return [place for workspace_id, (place, _) in shown.items() if workspace_id in locked]


def _box(command: Register, standing: Standing, new_secret: NewSecret) -> _Box | None:
    verdict, workspace, ticket = decide(standing), standing.workspace, command.ticket
    if not isinstance(verdict, Admitted) or workspace is None or ticket is None:
        return None
    act = verdict.act
    # Only the line TICKET redeems one; all that has to be written follows from the ticket.
    if not isinstance(act, Mint) or act.redeem_ticket is None:
        return None
    secret = None if act.token_sha256 else new_secret(TokenKind.INSTANCE)
    text = secret.reveal() if secret else ""
    proxy = evidence.proxy_of(ticket, workspace.workspace_id, act.incarnation)
    redemption = Redemption(
        workspace_id=workspace.workspace_id,
        tenant_id=workspace.tenant_id,
        incarnation=act.incarnation,
        ticket_id=act.redeem_ticket,
        token_sha256=act.token_sha256 or token_sha256(text),
        prefix=display_prefix(text),
        client_made=secret is None,
        request_id=act.request_id,
        outcome=act.outcome,
        line=verdict.line,
        proxy_sha256=token_sha256(proxy.reveal()) if proxy else None,
        proxy_prefix=display_prefix(proxy.reveal()) if proxy else "",
        time=standing.now,
        actor=command.origin.actor,
        method=command.origin.method,
        correlation_id=command.origin.correlation_id,
    )
    return _Box(
        command=command,
        standing=standing,
        admitted=verdict,
        redemption=redemption,
        secret=secret,
    )


def _registered(box: _Box, token: Token) -> Registered:
    return Registered(
        outcome=box.admitted.outcome,
        token=token,
        auth_token=box.secret,
        incarnation=box.admitted.incarnation,
        line=box.admitted.line,
        without_evidence=False,
        time=box.standing.now,
    )
