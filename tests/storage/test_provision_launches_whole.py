"""Launches of a batch, from the claim to the environment: one call to the registry begins all of
them, and what it does not begin there, or what cannot be handed out, goes on alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentworkspace.core.refusal import Refusal, SharedReason
from provision_service.commands import access
from provision_service.domain.lifecycle import ProvisionReason, ProvisionState
from provision_service.domain.refusals import Reason
from provision_service.domain.registry_port import RegistryRefused, RegistryUnavailable
from provision_service.launch import launches, provision_workspace
from provision_service.launch.claim import Claimed
from provision_service.launch.deliver import Ready
from provision_service.launch.launches import Launched
from provision_service.launch.provision_workspace import (
    ProvisionWorkspace,
    ProvisionWorkspaceResult,
)
from provision_service.storage import workspaces
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import (
    LAUNCHER,
    RIVAL,
    World,
    at_once,
    emptied,
    opened,
    refused,
)
from tests.storage.sent_statements import commits, statements


@pytest.fixture
def world(provision_database: str, tmp_path: Path) -> Iterator[World]:
    with opened(emptied(provision_database), tmp_path) as world:
        yield world


def launch_of(workspace_id: str, **fields: Any) -> ProvisionWorkspace:
    command = ProvisionWorkspace(
        call=LAUNCHER,
        workspace_id=workspace_id,
        provision_id=new_id(),
        reason=ProvisionReason.RESTART,
        request_id=new_id(),
    )
    return replace(command, **fields)


def some(world: World, count: int = 3, **fields: Any) -> list[ProvisionWorkspace]:
    return [launch_of(world.create().id, **fields) for _ in range(count)]


def together(world: World, commands: Sequence[ProvisionWorkspace]) -> list[Launched]:
    store, deployment = world.store, world.deployment
    taken = launches.claim(store, commands, deployment)
    return launches.go_on(store, commands, taken, deployment, world.registry)


def alone(world: World, command: ProvisionWorkspace, begun: Launched) -> ProvisionWorkspaceResult:
    """The rest of one that a batch has claimed, or begun."""
    assert isinstance(begun, Claimed | Ready)
    return provision_workspace.go_on(
        world.store, command, world.deployment, world.registry, begun=begun
    )


def repeated(world: World, command: ProvisionWorkspace) -> ProvisionWorkspaceResult:
    """The same request again, by itself."""
    return provision_workspace.run(
        world.store,
        replace(command, provision_id=new_id()),
        world.deployment,
        world.registry,
        world.prober,
    )


def served(world: World, commands: Sequence[ProvisionWorkspace]) -> list[ProvisionWorkspaceResult]:
    """As the servicer does it: what the batch leaves is made alone."""
    return [
        made
        if isinstance(made, ProvisionWorkspaceResult)
        else repeated(world, command)
        if made is None
        else alone(world, command, made)
        for command, made in zip(commands, together(world, commands), strict=True)
    ]


def incarnation(world: World, command: ProvisionWorkspace, made: Launched) -> int:
    """Of the launch whose environment this is: the command's own, as it is stored."""
    assert isinstance(made, ProvisionWorkspaceResult)
    assert (made.joined, made.skipped, made.provision.id) == (False, False, command.provision_id)
    assert made.env is not None
    assert made.env.reveal()["WORKSPACE_ID"] == command.workspace_id
    assert made.env.reveal()["WORKSPACE_INCARNATION"] == str(made.provision.incarnation)
    with world.store.reading() as tx:
        assert access.read_provision(tx, LAUNCHER, command.provision_id)[0] == made.provision
    return made.provision.incarnation


def states(world: World, commands: Sequence[ProvisionWorkspace]) -> list[tuple[str, bool]]:
    """Of each command's own launch: its state, and whether it is over."""
    found = {
        row[0]: (row[1], row[2])
        for row in world.sql(
            "SELECT provision_id::text, state, complete_time IS NOT NULL FROM provision.provisions"
        )
    }
    return [found[command.provision_id] for command in commands]


def is_unavailable(made: Launched) -> bool:
    return isinstance(made, Refusal) and made.reason is Reason.REGISTRY_UNAVAILABLE


@pytest.mark.parametrize("count", [1, 20])
def test_a_batch_asks_the_registry_once_between_two_commits(world: World, count: int) -> None:
    together(world, some(world, 1))
    commands = [
        replace(command, call=replace(LAUNCHER, correlation_id=f"call-{place}"))
        for place, command in enumerate(some(world, count))
    ]
    world.registry.calls.clear()
    world.registry.correlation_ids.clear()
    engine = world.store.database.engine
    with statements(engine) as sent, commits(engine) as made:
        answers = together(world, commands)
    assert (len(sent), len(made)) == (5, 2)
    assert world.registry.calls == ["begin_many"]
    assert world.registry.correlation_ids == [f"call-{place}" for place in range(count)]
    for command, answer in zip(commands, answers, strict=True):
        assert incarnation(world, command, answer) == 1
    assert states(world, commands) == [("ENV_DELIVERED", False)] * count


def test_one_that_the_registry_refuses_is_refused_as_alone_and_disturbs_nobody(
    world: World,
) -> None:
    commands = some(world)
    fenced = commands[1]
    world.registry.suspended.add(fenced.workspace_id)
    answers = together(world, commands)
    assert incarnation(world, commands[0], answers[0]) == 1
    assert incarnation(world, commands[2], answers[2]) == 1
    assert states(world, [fenced]) == [("CLAIMED", False)]
    with refused(SharedReason.WORKSPACE_SUSPENDED):
        alone(world, fenced, answers[1])
    assert states(world, [fenced]) == [("FAILED", True)]
    assert world.sql(
        "SELECT last_error ->> 'code' FROM provision.workspaces WHERE workspace_id = :id",
        id=fenced.workspace_id,
    ) == [("ERROR_REASON_WORKSPACE_SUSPENDED",)]


def test_one_that_needs_no_launch_ends_as_alone(world: World) -> None:
    commands = some(world, 2, reason=ProvisionReason.AUTO_RESTART)
    world.registry.healthy.add(commands[0].workspace_id)
    answers = together(world, commands)
    assert alone(world, commands[0], answers[0]).skipped
    assert incarnation(world, commands[1], answers[1]) == 1
    assert states(world, commands) == [("SUPERSEDED", True), ("ENV_DELIVERED", False)]


def test_one_of_which_the_registry_knows_nothing_more_is_told_again(world: World) -> None:
    commands = some(world, 2)
    del world.registry.admitted[commands[0].workspace_id]
    answers = together(world, commands)
    assert incarnation(world, commands[1], answers[1]) == 1
    assert incarnation(world, commands[0], alone(world, commands[0], answers[0])) == 1


@pytest.mark.parametrize("answer_is_lost", [False, True])
def test_without_the_registry_all_claims_are_released_and_no_launch_is_counted_twice(
    world: World, answer_is_lost: bool
) -> None:
    """Lost: the registry begins the launches, and dies before it says so."""

    def lose(_call: str) -> None:
        raise RegistryUnavailable

    commands = some(world)
    world.registry.down = not answer_is_lost
    if answer_is_lost:
        world.registry.after = lose
    engine = world.store.database.engine
    with commits(engine) as made:
        answers = together(world, commands)
    assert [is_unavailable(answer) for answer in answers] == [True] * 3
    assert states(world, commands) == [("FAILED", False)] * 3
    assert len(made) == 2
    assert world.sql("SELECT last_error FROM provision.workspaces") == [(None,)] * 3
    world.registry.down, world.registry.after = False, lambda _call: None
    for command in commands:
        assert incarnation(world, command, repeated(world, command)) == 1
        assert world.registry.incarnations[command.workspace_id] == 1
    assert world.count("provisions") == 3


def test_after_a_release_a_batch_takes_the_next_request_and_not_the_same(world: World) -> None:
    """The same request goes on with its own launch, for which it has to be alone."""
    commands = some(world, 2)
    world.registry.down = True
    together(world, commands)
    world.registry.down = False
    other = launch_of(commands[1].workspace_id, call=RIVAL)
    answers = together(world, [commands[0], other])
    assert answers[0] is None
    assert incarnation(world, other, answers[1]) == 1
    assert incarnation(world, commands[0], repeated(world, commands[0])) == 1
    assert repeated(world, commands[1]).joined


def test_a_claim_whose_workspace_somebody_holds_is_released_alone(world: World) -> None:
    commands = some(world)
    held = commands[1]
    world.registry.down = True
    taken = launches.claim(world.store, commands, world.deployment)
    with world.store.transaction() as tx:
        workspaces.lock(tx, held.workspace_id)
        answers = launches.go_on(world.store, commands, taken, world.deployment, world.registry)
    assert [is_unavailable(answer) for answer in answers] == [True, False, True]
    assert states(world, commands) == [("FAILED", False), ("CLAIMED", False), ("FAILED", False)]
    with refused(Reason.REGISTRY_UNAVAILABLE):
        alone(world, held, answers[1])
    assert states(world, [held]) == [("FAILED", False)]


def test_claims_that_the_database_does_not_release_end_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = some(world)
    world.registry.down = True
    taken = launches.claim(world.store, commands, world.deployment)
    with monkeypatch.context() as broken:
        broken.setattr(workspaces, "lock_free", lambda *_: 1 / 0)
        answers = launches.go_on(world.store, commands, taken, world.deployment, world.registry)
    for command, answer in zip(commands, answers, strict=True):
        with refused(Reason.REGISTRY_UNAVAILABLE):
            alone(world, command, answer)
    assert states(world, commands) == [("FAILED", False)] * 3


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_registry_that_takes_no_batch_is_asked_for_each(world: World, is_refused: bool) -> None:
    """It is of an earlier version, or refuses the whole."""
    commands = some(world)
    world.registry.calls.clear()
    if is_refused:
        world.registry.refusals["begin_many"] = RegistryRefused("INVALID_REQUEST", "no")
    else:
        world.registry.older = True
    answers = together(world, commands)
    assert states(world, commands) == [("CLAIMED", False)] * 3
    for command, answer in zip(commands, answers, strict=True):
        assert incarnation(world, command, alone(world, command, answer)) == 1
    assert world.registry.calls[-3:] == ["begin_incarnation"] * 3


def test_a_registry_that_dies_between_the_batch_and_a_single_call_keeps_no_claim(
    world: World,
) -> None:
    commands = some(world)
    world.registry.suspended.add(commands[0].workspace_id)
    answers = together(world, commands)
    world.registry.down = True
    with refused(Reason.REGISTRY_UNAVAILABLE):
        alone(world, commands[0], answers[0])
    assert states(world, commands[:1]) == [("FAILED", False)]
    world.registry.down = False
    world.registry.suspended.clear()
    assert incarnation(world, commands[0], repeated(world, commands[0])) == 1


def test_a_call_with_less_time_than_the_registry_may_take_is_left_alone(world: World) -> None:
    """The registry may take 5 s to begin a launch."""
    soon = replace(LAUNCHER, deadline=time.monotonic() + 4.9)
    later = replace(LAUNCHER, deadline=time.monotonic() + 60)
    commands = [
        replace(command, call=call)
        for command, call in zip(some(world), (soon, later, LAUNCHER), strict=True)
    ]
    answers = together(world, commands)
    assert [answer is None for answer in answers] == [True, False, False]
    assert world.count("provisions") == 2


def test_of_two_for_one_workspace_the_one_that_can_wait_is_taken(world: World) -> None:
    workspace_id = world.create().id
    soon = launch_of(workspace_id, call=replace(LAUNCHER, deadline=time.monotonic() + 1))
    later = launch_of(workspace_id, call=RIVAL)
    answers = together(world, [soon, later])
    assert answers[0] is None
    assert incarnation(world, later, answers[1]) == 1
    assert repeated(world, soon).joined


def test_one_that_cannot_be_written_down_fails_alone_and_the_others_are_handed_out(
    world: World,
) -> None:
    """PostgreSQL keeps no text with a zero in it, such as the correlation id of one call here."""
    commands = some(world)
    commands[1] = replace(commands[1], call=replace(LAUNCHER, correlation_id="a\0b"))
    answers = together(world, commands)
    assert [isinstance(answer, Ready) for answer in answers] == [True] * 3
    world.registry.calls.clear()
    for place in (0, 2):
        assert incarnation(world, commands[place], alone(world, commands[place], answers[place]))
    with pytest.raises(ValueError, match="NUL"):
        alone(world, commands[1], answers[1])
    assert world.registry.calls == []
    assert states(world, commands) == [
        ("ENV_DELIVERED", False),
        ("CLAIMED", False),
        ("ENV_DELIVERED", False),
    ]
    # With a better correlation id the same request gets it.
    assert incarnation(world, commands[1], repeated(world, replace(commands[1], call=LAUNCHER)))


@pytest.mark.parametrize("change", ["remove_time = now()", "incarnation = 7"])
def test_one_that_was_lost_meanwhile_is_refused_alone(world: World, change: str) -> None:
    """Removed, or overtaken by a newer launch, while the registry was asked."""
    commands = some(world)
    lost = commands[1]

    def lose(_call: str) -> None:
        world.sql(
            f"UPDATE provision.workspaces SET {change} WHERE workspace_id = :id",  # noqa: S608
            id=lost.workspace_id,
        )

    world.registry.after = lose
    answers = together(world, commands)
    assert [isinstance(answer, Ready) for answer in answers] == [False, True, False]
    with pytest.raises(Refusal) as caught:
        alone(world, lost, answers[1])
    removed = change.startswith("remove")
    assert caught.value.reason is (
        SharedReason.WORKSPACE_REMOVED if removed else Reason.PROVISION_SUPERSEDED
    )
    assert incarnation(world, commands[0], answers[0]) == 1
    assert incarnation(world, commands[2], answers[2]) == 1


def test_what_the_inputs_have_become_meanwhile_is_said_in_a_batch_too(world: World) -> None:
    commands = some(world, 2)

    def write(_call: str) -> None:
        world.sql(
            "UPDATE provision.workspaces SET input_revision = input_revision + 1"
            " WHERE workspace_id = :id",
            id=commands[0].workspace_id,
        )

    world.registry.after = write
    answers = together(world, commands)
    made = [answer for answer in answers if isinstance(answer, ProvisionWorkspaceResult)]
    assert [each.provision.rerun_required for each in made] == [True, False]
    assert [each.provision.state for each in made] == [ProvisionState.ENV_DELIVERED] * 2


def test_batches_beside_each_other_hand_out_each_launch_once(world: World) -> None:
    """Of the same workspaces in different orders, beside single launches of them."""
    for _ in range(5):
        ids = [world.create().id for _ in range(8)]
        made: list[ProvisionWorkspaceResult] = []

        def batch(order: Sequence[str], made: list[ProvisionWorkspaceResult] = made) -> None:
            made += served(world, list(map(launch_of, order)))

        def single(workspace_id: str, made: list[ProvisionWorkspaceResult] = made) -> None:
            made.append(repeated(world, launch_of(workspace_id)))

        orders = (ids, ids[::-1], ids[4:] + ids[:4], ids[::-1])
        calls: list[Callable[[], object]] = [
            *(partial(batch, order) for order in orders),
            *(partial(single, each) for each in ids[:3]),
        ]
        answers = at_once(calls)
        assert [each for each in answers if isinstance(each, Exception)] == []
        handed = [each.provision.workspace_id for each in made if each.env is not None]
        assert sorted(handed) == sorted(ids)
        assert [each.joined for each in made].count(True) == 4 * 8 + 3 - 8
        assert [world.registry.incarnations[each] for each in ids] == [1] * 8
