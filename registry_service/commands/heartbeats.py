"""Heartbeat for many boxes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection

from agentworkspace.core.ids import TokenId, WorkspaceId
from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from agentworkspace.service import store_faults
from registry_service.commands import evidence, first_use, recording
from registry_service.commands.evidence import Presented
from registry_service.commands.origin import SYSTEM, Origin
from registry_service.domain.admission import NextAction, next_action
from registry_service.domain.standing import BootstrapPolicy, Standing
from registry_service.domain.steady import may_wait
from registry_service.domain.tokens import TokenKind
from registry_service.domain.verdicts import Denied
from registry_service.storage import checks, registrations, standings, workspaces
from registry_service.storage.feed import Entry
from registry_service.storage.registrations import Beat
from registry_service.storage.standings import Bearer
from registry_service.storage.steady import Box
from registry_service.storage.store import Store

# The time for a heartbeat that is looked at alone: the others of its batch wait for it.
ALONE_AT_MOST: Final = timedelta(seconds=2)


class Heartbeat(NamedTuple):
    """What a box says of itself. A tuple, because one is made for every call."""

    workspace_id: WorkspaceId
    bearer: Secret | None
    policy: BootstrapPolicy
    origin: Origin = SYSTEM
    active_tasks: int = 0
    sample_error: str = ""
    degraded: bool = False
    # What was read about the box before, if anything was.
    seen: Box | None = None


class Heartbeaten(NamedTuple):
    """What a box is told."""

    next_action: NextAction
    # The workspace's newest.
    incarnation: int
    # The token that was used; None if it is dead.
    token_id: TokenId | None
    # When it was used, by the database's clock, for `flush_last_uses`.
    time: datetime


def run(store: Store, commands: Sequence[Heartbeat]) -> list[Heartbeaten | Refusal]:
    """One answer each, in order. Refusals: BEARER_MISSING, BEARER_REJECTED, WORKSPACE_UNKNOWN."""
    answers: dict[int, Heartbeaten | Refusal] = {**_beat_steadily(store, commands)}
    rest = [place for place in range(len(commands)) if place not in answers]
    if rest:
        others = _run_others(store, [commands[place] for place in rest])
        answers.update(zip(rest, others, strict=True))
    return [answers[place] for place in range(len(commands))]


def answer_steady(command: Heartbeat, box: Box) -> Heartbeaten | None:
    """The answer to a heartbeat that says nothing new. The time at which it came still has to be
    written, which `flush_heartbeats` may do later. None for any other heartbeat: `run` it.
    """
    waits = may_wait(
        box.stored,
        incarnation=box.incarnation,
        active_tasks=command.active_tasks,
        sample_error=command.sample_error,
        degraded=command.degraded,
    )
    return _going_on(box) if waits else None


def _going_on(box: Box) -> Heartbeaten:
    return Heartbeaten(NextAction.NONE, box.newest, box.token_id, box.time)


def _beat_steadily(store: Store, commands: Sequence[Heartbeat]) -> dict[int, Heartbeaten]:
    """The answers to boxes whose token is live and was used before, by their place in `commands`.

    That is nearly all boxes, and takes two statements, or one if `seen` is set for all.
    """
    with store.transaction() as tx:
        in_use = _in_use(tx, commands)
        # Only the first one of each workspace.
        beating = {commands[place].workspace_id: place for place in reversed(in_use)}
        beats = [_beat(commands[place], in_use[place][0]) for place in beating.values()]
        written = registrations.beat(tx, beats) if beats else frozenset()
    return {
        place: in_use[place][1]
        for workspace_id, place in beating.items()
        if workspace_id in written
    }


def _in_use(tx: Connection, commands: Sequence[Heartbeat]) -> dict[int, tuple[int, Heartbeaten]]:
    """Those whose token is live and was used before, by place: its incarnation, and the answer."""
    found = {
        place: (command.seen.incarnation, _going_on(command.seen))
        for place, command in enumerate(commands)
        if command.seen is not None
    }
    hashes = {
        place: item
        for place, command in enumerate(commands)
        if place not in found and (item := evidence.hash_of(command.bearer)) is not None
    }
    if not hashes:
        return found
    checked = checks.known(tx, hashes.values())
    for place, item in hashes.items():
        known, workspace_id = checked.by_hash.get(item), commands[place].workspace_id
        if known and known.kind is TokenKind.INSTANCE and known.workspace_id == workspace_id:
            newest = checked.newest[workspace_id]
            answer = Heartbeaten(NextAction.NONE, newest, known.token_id, checked.now)
            found[place] = (known.incarnation, answer)
    return found


def _run_others(store: Store, commands: Sequence[Heartbeat]) -> list[Heartbeaten | Refusal]:
    answers: dict[int, Heartbeaten | Refusal] = {}
    with store.transaction() as tx:
        round_ = _Round.read(tx, commands)
        written = round_.write()
        dead = [place for place in range(len(commands)) if place not in round_.live]
        if dead:
            told = _answer_dead(tx, [commands[place] for place in dead])
            answers.update(zip(dead, told, strict=True))
        for place in round_.live:
            if place in round_.beating and commands[place].workspace_id in written:
                answers[place] = round_.going_on(place)
        round_.publish()
    for place, command in enumerate(commands):
        if place not in answers:
            answers[place] = _alone(store, command)
    return [answers[place] for place in range(len(commands))]


def _alone(store: Store, command: Heartbeat) -> Heartbeaten | Refusal:
    """Run one that the batch skipped, because another transaction held its row, or its box had been
    replaced or had left.
    """

    def once() -> Heartbeaten | Refusal:
        with store.at_most(ALONE_AT_MOST).transaction() as tx:
            workspaces.lock(tx, command.workspace_id)
            round_ = _Round.read(tx, [command])
            round_.write(alone=True)
            (answer,) = (round_.going_on(0),) if round_.live else _answer_dead(tx, [command])
            round_.publish()
            return answer

    try:
        return store_faults.attempt(once)
    except Refusal as refusal:
        return refusal


def _answer_dead(tx: Connection, commands: Sequence[Heartbeat]) -> list[Heartbeaten | Refusal]:
    """The answers of the admission table, which change nothing: one statement, or a fleet whose
    tokens ended together would keep the others of its batches waiting.
    """
    presented = [
        Presented(workspace_id=item.workspace_id, policy=item.policy, bearer=item.bearer)
        for item in commands
    ]
    return list(map(_told, evidence.standings_of(tx, presented)))


def _told(standing: Standing) -> Heartbeaten | Refusal:
    action = next_action(standing)
    if isinstance(action, Denied):
        return action.refusal()
    return Heartbeaten(
        next_action=action,
        incarnation=standing.workspace.incarnation if standing.workspace else 0,
        token_id=None,
        time=standing.now,
    )


@dataclass(slots=True, kw_only=True)
class _Round:
    """Several heartbeats that are read and written in one transaction."""

    tx: Connection
    commands: Sequence[Heartbeat]
    now: datetime
    # Those with a live instance token of the workspace that they name, by place.
    live: dict[int, Bearer]
    # The places of the first one of each workspace; any others are looked at alone.
    beating: frozenset[int]
    news: tuple[Entry, ...] = ()

    @classmethod
    def read(cls, tx: Connection, commands: Sequence[Heartbeat]) -> _Round:
        hashes = [evidence.hash_of(command.bearer) for command in commands]
        found = standings.bearers(tx, [item for item in hashes if item is not None])
        live: dict[int, Bearer] = {}
        first_of: dict[WorkspaceId, int] = {}
        for place, (command, item) in enumerate(zip(commands, hashes, strict=True)):
            bearer = found.by_hash.get(item) if item else None
            if bearer is None or not bearer.is_live(found.now):
                continue
            token = bearer.token
            if token.kind is TokenKind.INSTANCE and token.workspace_id == command.workspace_id:
                live[place] = bearer
                first_of.setdefault(command.workspace_id, place)
        return cls(
            tx=tx,
            commands=commands,
            now=found.now,
            live=live,
            beating=frozenset(first_of.values()),
        )

    def write(self, *, alone: bool = False) -> frozenset[WorkspaceId]:
        """Write first uses, then heartbeats; returns the workspaces whose heartbeat was written."""
        uses = [
            first_use.Use(
                token=bearer.token,
                workspace=bearer.workspace,
                origin=self.commands[place].origin,
            )
            for place, bearer in self.live.items()
        ]
        used = first_use.write(self.tx, uses, now=self.now, patient=alone)
        self.news = used.news
        for place, bearer in list(self.live.items()):
            if bearer.token.token_id in used.died:
                del self.live[place]
        beats = [
            _beat(self.commands[place], bearer.token.incarnation)
            for place, bearer in self.live.items()
            if place in self.beating and bearer.token.token_id not in used.busy
        ]
        if not beats:
            return frozenset()
        if alone:
            registrations.lock(self.tx, beats[0].workspace_id)
        return registrations.beat(self.tx, beats, alone=alone)

    def going_on(self, place: int) -> Heartbeaten:
        bearer = self.live[place]
        return Heartbeaten(
            next_action=NextAction.NONE,
            incarnation=bearer.workspace.incarnation,
            token_id=bearer.token.token_id,
            time=self.now,
        )

    def publish(self) -> None:
        if self.news:
            recording.publish(self.tx, self.news)


def _beat(command: Heartbeat, incarnation: int) -> Beat:
    return Beat(
        workspace_id=command.workspace_id,
        incarnation=incarnation,
        active_tasks=command.active_tasks,
        sample_error=command.sample_error,
        degraded=command.degraded,
    )
