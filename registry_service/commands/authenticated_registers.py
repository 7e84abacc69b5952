"""Register for many boxes at once that show a live bearer and want no new token."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agentworkspace.core.ids import WorkspaceId
from registry_service.commands import evidence, first_use
from registry_service.commands.register import Register, Registered, arrival_of
from registry_service.domain.admission import decide
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.standing import Standing
from registry_service.domain.tokens import Outcome, TokenKind
from registry_service.domain.verdicts import Admitted, Keep
from registry_service.storage import registrations, standings
from registry_service.storage.standings import Bearer
from registry_service.storage.store import Store


def run(store: Store, commands: Sequence[Register]) -> list[Registered | None]:
    """One answer each, in order. None: nothing was registered; run `register` for it alone.

    Any command without a bearer or with token_sha256 is answered None.
    """
    hashes = [_hash(command) for command in commands]
    tickets = [evidence.hash_of(command.ticket) for command in commands]
    with store.transaction() as tx:
        found = standings.bearers(tx, [item for item in (*hashes, *tickets) if item])
        simple: dict[int, Bearer] = {}
        taken: set[WorkspaceId] = set()
        for place, (command, item) in enumerate(zip(commands, hashes, strict=True)):
            bearer = found.by_hash.get(item) if item else None
            if bearer is None or command.workspace_id in taken:
                continue
            if _is_simple(command, bearer, found.now):
                simple[place] = bearer
                taken.add(command.workspace_id)
        uses = [
            first_use.Use(
                token=bearer.token, workspace=bearer.workspace, origin=commands[place].origin
            )
            for place, bearer in simple.items()
        ]
        used = first_use.write(tx, uses, now=found.now, patient=False)
        arrivals = [
            arrival_of(
                commands[place],
                bearer.token.incarnation,
                by_newest_ticket=_is_newest_ticket(
                    found.by_hash.get(tickets[place] or b""), bearer
                ),
            )
            for place, bearer in simple.items()
            if bearer.token.token_id not in used.died | used.busy
        ]
        written = registrations.arrive(tx, arrivals) if arrivals else frozenset()
    return [
        _registered(simple[place], found.now)
        if place in simple and command.workspace_id in written
        else None
        for place, command in enumerate(commands)
    ]


def _is_newest_ticket(shown: Bearer | None, bearer: Bearer) -> bool:
    """Whether a box also showed the ticket of its workspace's newest launch."""
    return (
        shown is not None
        and shown.token.kind is TokenKind.TICKET
        and shown.token.workspace_id == bearer.token.workspace_id
        and shown.token.incarnation == bearer.workspace.incarnation
    )


def _hash(command: Register) -> bytes | None:
    return None if command.token_sha256 else evidence.hash_of(command.bearer)


def _is_simple(command: Register, bearer: Bearer, now: datetime) -> bool:
    """Whether its token is live, and nothing is to be minted or written that needs the workspace's
    lock.
    """
    token, workspace = bearer.token, bearer.workspace
    if token.workspace_id != command.workspace_id:
        return False
    if token.dies_at_first_use() or workspace.registered_incarnation < token.incarnation:
        return False
    if workspace.left:
        return False
    verdict = decide(
        Standing(
            workspace=workspace,
            policy=command.policy,
            now=now,
            bearer_presented=True,
            bearer=token,
        )
    )
    return isinstance(verdict, Admitted) and isinstance(verdict.act, Keep)


def _registered(bearer: Bearer, now: datetime) -> Registered:
    return Registered(
        outcome=Outcome.AUTHENTICATED,
        token=bearer.token,
        auth_token=None,
        incarnation=bearer.token.incarnation,
        line=AdmissionLine.LIVE_TOKEN,
        without_evidence=False,
        time=now,
    )
