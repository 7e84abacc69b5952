"""First Registers of many boxes at once leave what single ones leave, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_instance_token
from registry_service.commands import first_registers, register
from registry_service.commands.register import Register, Registered
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.tokens import Outcome, RevokeReason, TokenKind
from registry_service.storage import registrations, workspaces
from tests.storage.registry_traces import left_behind
from tests.storage.registry_world import (
    World,
    new_request_id,
    new_secret,
    new_workspace_id,
    register_of,
    sha256,
    world_at,
)
from tests.storage.sent_statements import statements


@pytest.fixture(scope="module")
def world(registry_database_of_module: str) -> Iterator[World]:
    with world_at(registry_database_of_module) as world:
        yield world


def first(world: World, *commands: Register) -> list[Registered | None]:
    return first_registers.run(world.store, commands, new_secret=new_secret)


def launched_anew(world: World) -> tuple[WorkspaceId, Secret]:
    """A workspace whose first box reported and rotates, and the ticket of its second launch."""
    workspace_id = world.workspace(ticket_required=True)
    box = world.launched(workspace_id)
    world.heartbeat(workspace_id, box, degraded=True, sample_error="no disk")
    world.register(workspace_id, bearer=box, token_sha256=sha256(new_secret(TokenKind.INSTANCE)))
    return workspace_id, world.ticket(workspace_id)


@pytest.mark.parametrize("client_made", [True, False])
@pytest.mark.parametrize("again", [True, False])
def test_a_batch_leaves_what_register_leaves(world: World, client_made: bool, again: bool) -> None:
    def launched() -> tuple[WorkspaceId, Secret]:
        if again:
            return launched_anew(world)
        workspace_id = world.workspace(ticket_required=True)
        return workspace_id, world.ticket(workspace_id)

    (alone, ticket), (together, other) = launched(), launched()
    reported = {
        "url": "http://box:9",
        "delivery_mode": "push",
        "agent_card": {"name": "agent"},
        "runtime": "claude-code",
        "runtime_version": "2",
    }

    def of(workspace_id: WorkspaceId, ticket: Secret) -> Register:
        token = derive_instance_token(ticket, workspace_id, 2 if again else 1)
        asked = {"token_sha256": sha256(token)} if client_made else {"request_id": new_request_id()}
        return register_of(workspace_id, ticket=ticket, **asked, **reported)

    expected = register.run(world.store, of(alone, ticket), new_secret=new_secret)
    (answer,) = first(world, of(together, other))
    assert answer is not None
    assert (answer.outcome, answer.line) == (Outcome.BOOTSTRAPPED, AdmissionLine.TICKET)
    for name in ("outcome", "line", "incarnation", "without_evidence"):
        assert getattr(answer, name) == getattr(expected, name)
    assert (answer.auth_token is None) == client_made
    assert left_behind(world, together) == left_behind(world, alone)
    secret = answer.auth_token or derive_instance_token(other, together, answer.incarnation)
    assert answer.token.token_sha256 == sha256(secret)
    assert world.live_instances(together) == [answer.token.token_id]


def test_what_is_not_that_simple_is_left_to_register_and_as_it_was(world: World) -> None:
    def launched() -> tuple[WorkspaceId, Secret]:
        workspace_id = world.workspace()
        return workspace_id, world.ticket(workspace_id)

    good, its_ticket = launched()
    redeemed = launched()
    world.register(redeemed[0], ticket=redeemed[1])
    expired = launched()
    world.expire(expired[0], TokenKind.TICKET)
    older = launched()
    world.begin(older[0])
    fenced = launched()
    world.revoke_all(fenced[0], RevokeReason.SUSPENDED)
    shown_elsewhere = launched()
    wanting = launched()
    taken = sha256(new_secret(TokenKind.API))
    world.mint(world.workspace(), token_sha256=taken)
    its_own_ticket = launched()
    before = world.rows()
    answers = first(
        world,
        *(register_of(id_, ticket=ticket) for id_, ticket in (redeemed, expired, older, fenced)),
        register_of(good, ticket=shown_elsewhere[1]),
        register_of(new_workspace_id(), ticket=its_ticket),
        register_of(shown_elsewhere[0]),
        register_of(shown_elsewhere[0], ticket=Secret("no ticket of ours")),
        register_of(wanting[0], ticket=wanting[1], token_sha256=taken),
        register_of(
            its_own_ticket[0], ticket=its_own_ticket[1], token_sha256=sha256(its_own_ticket[1])
        ),
    )
    assert answers == [None] * 10
    assert world.rows() == before
    assert world.register(wanting[0], ticket=wanting[1]).line is AdmissionLine.TICKET


def test_one_of_a_batch_is_refused_for_itself_alone(world: World) -> None:
    """The second of a workspace and the second of a hash are decided alone, the rest together."""
    boxes = [world.workspace() for _ in range(4)]
    tickets = [world.ticket(workspace_id) for workspace_id in boxes]
    wanted = sha256(new_secret(TokenKind.INSTANCE))
    answers = first(
        world,
        register_of(boxes[0], ticket=tickets[0]),
        register_of(boxes[0], ticket=tickets[0]),
        register_of(boxes[1], ticket=tickets[1], token_sha256=wanted),
        register_of(boxes[2], ticket=tickets[2], token_sha256=wanted),
        register_of(boxes[3], ticket=tickets[3]),
    )
    assert [answer is not None for answer in answers[::2]] == [True, True, True]
    assert answers[1] is None
    assert answers[3] is None
    assert world.live_instances(boxes[2]) == []
    assert world.tokens(boxes[2], proxy=True) == ()


def test_a_workspace_that_another_transaction_holds_keeps_nobody_waiting(world: World) -> None:
    held, reported, free = (world.workspace() for _ in range(3))
    commands = [register_of(each, ticket=world.ticket(each)) for each in (held, reported, free)]
    with world.store.transaction() as one, world.store.transaction() as other:
        workspaces.lock(one, held)
        registrations.lock(other, reported)
        answers = first(world, *commands)
    assert [answer is not None for answer in answers] == [False, False, True]
    again = first(world, *commands)
    assert [answer is not None for answer in again] == [True, True, False]


def test_a_token_whose_end_would_be_news_is_left_to_register(world: World) -> None:
    """No command leaves one beside an outstanding ticket; a backup might."""
    workspace_id = world.workspace()
    box = world.box(workspace_id)
    ticket = world.ticket(workspace_id)
    for expire_time in (datetime(2020, 1, 1, tzinfo=UTC), None):
        world.sql(
            "UPDATE registry.tokens SET revoke_time = NULL, revoke_reason = NULL,"
            " expire_time = %(expire_time)s WHERE token_sha256 = %(hash)s",
            hash=sha256(box),
            expire_time=expire_time,
        )
        assert first(world, register_of(workspace_id, ticket=ticket)) == [None]
    world.register(workspace_id, ticket=ticket)
    assert world.token_of(workspace_id, box).token.revoke_reason is RevokeReason.ROTATED


@pytest.mark.parametrize("boxes", [1, 40])
def test_a_batch_takes_four_statements_however_large(world: World, boxes: int) -> None:
    ids = [world.workspace() for _ in range(boxes)]
    commands = [register_of(each, ticket=world.ticket(each)) for each in ids]
    with statements(world.store.database.engine) as sent:
        answers = first(world, *commands)
    assert None not in answers
    assert len(sent) == 4
