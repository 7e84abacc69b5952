"""Admissions and launches of many at once leave what single ones leave, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from agentworkspace.core.ids import RequestId, TenantId, WorkspaceId
from registry_service.commands import (
    admit_workspace,
    admit_workspaces,
    begin_incarnations,
    retire_workspace,
)
from registry_service.commands.admit_workspace import (
    AdmittedWorkspace,
    AdmitWorkspace,
    FirstToken,
)
from registry_service.commands.begin_incarnation import BeginIncarnation, BegunIncarnation
from registry_service.commands.issued import Delivery
from registry_service.commands.retire_workspace import RetireWorkspace
from registry_service.domain.liveness import RegistrationState
from registry_service.domain.tokens import RevokeReason, TokenKind
from registry_service.storage import registrations, workspaces
from tests.storage.registry_traces import left_behind
from tests.storage.registry_world import (
    CONFINED,
    HOUR,
    OPERATOR,
    ORIGIN,
    World,
    admission_of,
    launch_of,
    new_request_id,
    new_secret,
    new_workspace_id,
    sha256,
    world_at,
)
from tests.storage.sent_statements import statements


@pytest.fixture(scope="module")
def world(registry_database_of_module: str) -> Iterator[World]:
    with world_at(registry_database_of_module) as world:
        yield world


def admission(workspace_id: WorkspaceId | None = None, **fields: Any) -> AdmitWorkspace:
    asked = {"request_id": new_request_id(), "first_token": FirstToken(label="first")}
    return admission_of(workspace_id or new_workspace_id(), **asked | fields)


def admit(world: World, *commands: AdmitWorkspace) -> list[AdmittedWorkspace | None]:
    return admit_workspaces.run(world.store, commands, new_secret=new_secret)


def begin(world: World, *commands: BeginIncarnation) -> list[BegunIncarnation | None]:
    return begin_incarnations.run(world.store, commands, new_secret=new_secret)


def retire(world: World, workspace_id: WorkspaceId) -> None:
    command = RetireWorkspace(origin=ORIGIN, caller=OPERATOR, workspace_id=workspace_id)
    retire_workspace.run(world.store, command)


def set_back(world: World, *workspace_ids: WorkspaceId) -> None:
    """As a restore from a backup leaves them: each wants a launch."""
    world.sql(
        "UPDATE registry.workspaces SET restore_time = clock_timestamp()"
        " WHERE workspace_id = ANY(%(ids)s::uuid[])",
        ids=list(workspace_ids),
    )


def news(world: World, workspace_id: WorkspaceId) -> list[Any]:
    return world.sql(
        "SELECT token_sha256, reason FROM registry.revocations WHERE workspace_id = %(id)s",
        id=workspace_id,
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"first_token": None, "ticket_required": True},
        {"request_id": None, "evidence_required": True},
        {"first_token": FirstToken(label="x", scopes=("b", "a"), ttl=HOUR)},
    ],
)
def test_an_admission_in_a_batch_leaves_what_a_single_one_leaves(
    world: World, fields: dict[str, Any]
) -> None:
    alone, together = admission(**fields), admission(**fields)
    expected = admit_workspace.run(world.store, alone, new_secret=new_secret)
    (answer,) = admit(world, together)
    assert answer is not None
    assert answer.registration is not None
    assert expected.registration is not None
    assert left_behind(world, together.workspace_id) == left_behind(world, alone.workspace_id)
    assert (
        replace(
            answer.registration,
            workspace_id=alone.workspace_id,
            create_time=expected.registration.create_time,
            changed=expected.registration.changed,
        )
        == expected.registration
    )
    assert answer.registration.state is RegistrationState.PENDING
    assert (answer.issued is None) == (together.first_token is None)
    if answer.issued and expected.issued:
        assert answer.issued.delivery is Delivery.ENCLOSED
        assert answer.issued.plaintext is not None
        assert answer.issued.token.token_sha256 == sha256(answer.issued.plaintext)
        assert answer.issued.token.scopes == expected.issued.token.scopes
        lives = [
            token.expire_time - token.create_time if token.expire_time else None
            for token in (answer.issued.token, expected.issued.token)
        ]
        assert lives[0] == lives[1]


def test_only_who_asks_is_told_how_the_workspace_stands(world: World) -> None:
    asking, silent = admission(), admission(with_registration=False)
    told, untold = admit(world, asking, silent)
    assert told is not None
    assert told.registration is not None
    assert told.registration.workspace_id == asking.workspace_id
    assert untold is not None
    assert untold.registration is None
    assert untold.issued is not None
    assert left_behind(world, silent.workspace_id) == left_behind(world, asking.workspace_id)


def test_an_admission_that_is_not_that_simple_is_left_as_it_was(world: World) -> None:
    known, retired = world.workspace(), world.workspace()
    retire(world, retired)
    before = world.rows()
    answers = admit(
        world,
        admission(known),
        admission(retired),
        admission(remembered_incarnation=3),
        admission(suspended=True),
        admission(first_token=FirstToken(token_sha256=b"h" * 32)),
        admission(caller=CONFINED),
    )
    assert answers == [None] * 6
    assert world.rows() == before


def test_the_second_of_a_workspace_is_answered_alone_and_the_rest_together(world: World) -> None:
    first, other = admission(), admission()
    again = replace(first, tenant_id=TenantId("other"))
    answers = admit(world, first, again, admission(world.workspace()), other)
    assert [answer is not None for answer in answers] == [True, False, False, True]


@pytest.mark.parametrize("client_made", [True, False])
@pytest.mark.parametrize("before", ["nothing", "box", "ticket", "fences", "restored"])
def test_a_launch_in_a_batch_leaves_what_a_single_one_leaves(
    world: World, before: str, client_made: bool
) -> None:
    def prepared() -> WorkspaceId:
        workspace_id = world.workspace(ticket_required=True)
        if before == "box":
            world.launched(workspace_id)
        elif before == "ticket":
            world.ticket(workspace_id)
        elif before == "fences":
            world.launched(workspace_id)
            world.revoke_all(workspace_id, RevokeReason.COMPROMISED)
            world.revoke_all(workspace_id, RevokeReason.SUSPENDED)
        elif before == "restored":
            set_back(world, workspace_id)
        return workspace_id

    alone, together = prepared(), prepared()
    asked = {"minimum_incarnation": 7, "lift_suspension": True, "ticket_ttl": HOUR}
    hashes = [sha256(new_secret(TokenKind.TICKET)) if client_made else None for _ in range(2)]
    expected = world.begin(alone, ticket_sha256=hashes[0], **asked)
    (answer,) = begin(world, launch_of(together, ticket_sha256=hashes[1], **asked))
    assert answer is not None
    assert answer.incarnation == expected.incarnation == (10_008 if before == "restored" else 8)
    assert answer.revoked_count == expected.revoked_count == (1 if before == "box" else 0)
    assert answer.delivery is expected.delivery
    assert (answer.bootstrap_ticket is None) == client_made
    left, single = left_behind(world, together), left_behind(world, alone)
    assert left == single
    expected_news = [(None, "RELAUNCHED")] if before == "box" else news(world, alone)
    assert [tuple(row) for row in news(world, together)] == [tuple(row) for row in expected_news]
    if answer.bootstrap_ticket:
        assert world.register(together, ticket=answer.bootstrap_ticket).incarnation == (
            answer.incarnation
        )


def test_a_launch_that_is_not_that_simple_is_left_as_it_was(world: World) -> None:
    retired, suspended, healthy, replayed = (world.workspace() for _ in range(4))
    foreign, reaching, wanting = (world.workspace() for _ in range(3))
    retire(world, retired)
    world.launched(suspended)
    world.revoke_all(suspended, RevokeReason.SUSPENDED)
    world.heartbeat(healthy, world.launched(healthy))
    request_id = new_request_id()
    world.begin(replayed, request_id=request_id)
    taken = sha256(new_secret(TokenKind.TICKET))
    world.begin(world.workspace(), ticket_sha256=taken)
    before = world.rows()
    answers = begin(
        world,
        launch_of(new_workspace_id()),
        launch_of(retired),
        launch_of(suspended),
        launch_of(healthy, only_if_needed=True),
        launch_of(replayed, request_id=request_id),
        launch_of(foreign, caller=CONFINED),
        launch_of(reaching, minimum_incarnation=2_000_000),
        launch_of(wanting, ticket_sha256=taken),
    )
    assert answers == [None] * 8
    assert world.rows() == before


def test_a_replay_after_a_batch_is_answered_as_one_after_a_single_call(world: World) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    (first,) = begin(world, launch_of(workspace_id, request_id=request_id))
    assert first is not None
    again = world.begin(workspace_id, request_id=request_id)
    assert (again.incarnation, again.revoked_count) == (1, 0)
    assert again.bootstrap_ticket is not None
    assert again.bootstrap_ticket.reveal() != (first.bootstrap_ticket or again.bootstrap_ticket)
    command = admission()
    (admitted,) = admit(world, command)
    assert admitted is not None
    assert admitted.issued is not None
    replayed = world.admit(
        command.workspace_id, request_id=command.request_id, first_token=command.first_token
    )
    assert replayed.issued is not None
    assert replayed.issued.token.token_id != admitted.issued.token.token_id
    assert replayed.issued.delivery is Delivery.ENCLOSED


def test_who_is_needed_begins_and_who_is_not_is_asked_alone(world: World) -> None:
    healthy, restored, behind = (world.workspace() for _ in range(3))
    for each in (healthy, restored, behind):
        world.launched(each)
    set_back(world, restored)
    answers = begin(
        world,
        launch_of(healthy, only_if_needed=True),
        launch_of(restored, only_if_needed=True),
        launch_of(behind, only_if_needed=True, minimum_incarnation=4),
    )
    assert [answer and answer.incarnation for answer in answers] == [None, 10_002, 5]


def test_one_of_a_batch_that_cannot_begin_is_begun_alone_and_the_rest_together(
    world: World,
) -> None:
    """The second of a workspace, one that is repeated, and one whose hash is known."""
    one, other, repeated, known = (world.workspace() for _ in range(4))
    request_id, taken = new_request_id(), sha256(new_secret(TokenKind.TICKET))
    world.begin(repeated, request_id=request_id)
    world.begin(world.workspace(), ticket_sha256=taken)
    answers = begin(
        world,
        launch_of(one),
        launch_of(one),
        launch_of(repeated, request_id=request_id),
        launch_of(known, ticket_sha256=taken),
        launch_of(other),
    )
    assert [answer is not None for answer in answers] == [True, False, False, False, True]
    assert begin(world, launch_of(repeated))[0] is not None


def test_an_admission_that_another_transaction_makes_keeps_nobody_waiting_for_long(
    world: World,
) -> None:
    known, other = admission(), admission()
    with world.store.transaction() as tx:
        tx.execute(
            text(
                "INSERT INTO registry.workspaces (workspace_id, tenant_id, create_time)"
                " VALUES (:id, 'elsewhere', now())"
            ),
            {"id": known.workspace_id},
        )
        # It comes back while the other transaction goes on, and nothing of it is stored.
        assert admit(world, known, other) == [None, None]
    assert [answer is not None for answer in admit(world, known, other)] == [False, True]


def test_a_workspace_that_another_transaction_holds_keeps_nobody_waiting(world: World) -> None:
    held, reported, free = (world.workspace() for _ in range(3))
    with world.store.transaction() as one, world.store.transaction() as other:
        workspaces.lock(one, held)
        registrations.lock(other, reported)
        answers = begin(world, *map(launch_of, (held, reported, free)))
    assert [answer is not None for answer in answers] == [False, False, True]


@pytest.mark.parametrize("count", [1, 40])
def test_a_batch_takes_few_statements_however_large(world: World, count: int) -> None:
    commands = [admission() for _ in range(count)]
    ids = [command.workspace_id for command in commands]
    with statements(world.store.database.engine) as sent:
        answers = admit(world, *commands)
    assert None not in answers
    assert len(sent) == 2
    with statements(world.store.database.engine) as sent:
        unseen = admit(world, *(admission(with_registration=False) for _ in range(count)))
    assert None not in unseen
    assert len(sent) == 1
    with statements(world.store.database.engine) as sent:
        launched = begin(world, *map(launch_of, ids))
    assert None not in launched
    assert len(sent) == 2
    for each, answer in zip(ids, launched, strict=True):
        assert answer is not None
        world.box(each, ticket=answer.bootstrap_ticket)
    set_back(world, *ids)
    with statements(world.store.database.engine) as sent:
        again = begin(world, *(launch_of(each, only_if_needed=True) for each in ids))
    # Whether they are needed, and the feed that hears of the boxes that end.
    assert len(sent) == 4
    assert [answer and answer.revoked_count for answer in again] == [1] * count


def test_a_request_id_belongs_to_one_workspace(world: World) -> None:
    shared = RequestId(new_request_id())
    one, other = world.workspace(), world.workspace()
    answers = begin(world, launch_of(one, request_id=shared), launch_of(other, request_id=shared))
    assert [answer and answer.incarnation for answer in answers] == [1, 1]
