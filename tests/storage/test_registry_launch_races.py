"""Launches and admissions in batches, raced on a real database against single calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.refusal import Refusal, SharedReason
from registry_service.commands import (
    admit_workspace,
    admit_workspaces,
    begin_incarnation,
    begin_incarnations,
    first_registers,
    retire_workspace,
)
from registry_service.commands.admit_workspace import FirstToken
from registry_service.commands.retire_workspace import RetireWorkspace
from registry_service.domain.tokens import RevokeReason
from tests.storage.registry_world import (
    ACME,
    OPERATOR,
    ORIGIN,
    World,
    admission_of,
    all_at_once,
    launch_of,
    new_request_id,
    new_secret,
    new_workspace_id,
    register_of,
    world_at,
)


@pytest.fixture(scope="module")
def world(registry_database_of_module: str) -> Iterator[World]:
    with world_at(registry_database_of_module, pool_size=20) as world:
        yield world


def retire(world: World, workspace_id: WorkspaceId) -> None:
    command = RetireWorkspace(
        origin=ORIGIN, caller=OPERATOR, workspace_id=workspace_id, tenant_id=ACME
    )
    retire_workspace.run(world.store, command)


def test_batched_launches_race_single_ones_and_what_ends_them(world: World) -> None:
    """In any order against each other, against Register, a suspension and a retirement: numbers
    are given out once, and one ticket of a workspace counts.
    """
    for _ in range(5):
        ids = [world.workspace() for _ in range(8)]
        tickets = [world.ticket(each) for each in ids]
        asked = [launch_of(each) for each in ids]
        twice = [asked[0], *(launch_of(each) for each in ids), asked[0]]
        registers = [
            register_of(each, ticket=ticket) for each, ticket in zip(ids, tickets, strict=True)
        ]
        batches = [asked, twice[::-1], twice, [*asked[4:], *asked[:4]]]
        calls: list[Callable[[], object]] = [
            *(
                partial(begin_incarnations.run, world.store, batch, new_secret=new_secret)
                for batch in batches
            ),
            *(
                partial(begin_incarnation.run, world.store, command, new_secret=new_secret)
                for command in asked[2:]
            ),
            partial(first_registers.run, world.store, registers, new_secret=new_secret),
            partial(world.register, ids[3], ticket=tickets[3]),
            partial(world.revoke_all, ids[1], RevokeReason.SUSPENDED),
            partial(retire, world, ids[0]),
        ]
        results = all_at_once(calls)
        faults = [item for item in results if isinstance(item, Exception)]
        assert all(isinstance(fault, Refusal) for fault in faults), faults
        # A launch after them all ends all, and each number was given to one ticket.
        for command in asked[2:]:
            again = world.begin(command.workspace_id)
            numbers = world.sql(
                "SELECT incarnation, count(*) FILTER (WHERE revoke_time IS NULL) FROM"
                " registry.tokens WHERE workspace_id = %(id)s AND kind = 'TICKET'"
                " GROUP BY incarnation ORDER BY incarnation",
                id=command.workspace_id,
            )
            assert [tuple(row) for row in numbers] == [
                (number, int(number == again.incarnation))
                for number in range(1, again.incarnation + 1)
            ]
            assert world.live_instances(command.workspace_id) == []
        assert world.tokens(ids[0]) == ()


def test_admissions_race_in_batches_and_alone_and_each_workspace_is_admitted_once(
    world: World,
) -> None:
    for _ in range(5):
        ids = [new_workspace_id() for _ in range(8)]
        asked = [
            admission_of(each, request_id=new_request_id(), first_token=FirstToken(label="first"))
            for each in ids
        ]
        batches = [asked, asked[::-1], [asked[0], *asked[4:], *asked[:4]]]
        results = all_at_once(
            [
                *(
                    partial(admit_workspaces.run, world.store, batch, new_secret=new_secret)
                    for batch in batches
                ),
                *(
                    partial(admit_workspace.run, world.store, command, new_secret=new_secret)
                    for command in asked
                ),
                partial(retire, world, ids[1]),
            ]
        )
        faults = [item for item in results if isinstance(item, Exception)]
        assert all(isinstance(fault, Refusal) for fault in faults), faults
        assert {fault.reason for fault in faults if isinstance(fault, Refusal)} <= {
            SharedReason.WORKSPACE_REMOVED
        }
        for each in (ids[0], *ids[2:]):
            admitted = world.sql(
                "SELECT count(*) FROM registry.audit_events"
                " WHERE workspace_id = %(id)s AND action = 'workspace.admitted'",
                id=each,
            )
            assert [row[0] for row in admitted] == [1]
            # Replays take the place of one that nobody used.
            (living,) = world.tokens(each)
            assert living.token.label == "first"
