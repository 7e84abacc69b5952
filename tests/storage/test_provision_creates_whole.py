"""Creates of a batch, from what is stored to the first token: one call to the registry serves all
of them, and what it does not answer there is asked alone and is nobody else's trouble.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from agentworkspace.core.secret import Secret
from agentworkspace.service.store_faults import OutcomeUnknown
from provision_service.commands import create_workspace, create_workspaces
from provision_service.commands.create_workspace import (
    CreateWorkspace,
    CreateWorkspaceResult,
    Stored,
)
from provision_service.domain.registry_port import RegistryRefused, RegistryUnavailable
from provision_service.storage import outbox
from provision_service.workers import drain_outbox
from provision_service.workers.drain_outbox import DrainOutbox
from tests.storage.provision_doubles import USED_HASH, new_id
from tests.storage.provision_world import (
    ACME,
    GLOBEX,
    LAUNCHER,
    OAUTH,
    OPUS,
    World,
    at_once,
    emptied,
    opened,
)
from tests.storage.sent_statements import commits, statements

Made = CreateWorkspaceResult | Stored | None
UNAVAILABLE = (
    "REGISTRY_UNAVAILABLE: the registry did not answer; it will be told of the workspace when it"
    " is back"
)


@pytest.fixture
def world(provision_database: str, tmp_path: Path) -> Iterator[World]:
    with opened(emptied(provision_database), tmp_path) as world:
        yield world


def create_of(**fields: Any) -> CreateWorkspace:
    command = CreateWorkspace(
        call=LAUNCHER,
        workspace_id=new_id(),
        request_id=new_id(),
        tenant_id=ACME,
        spec=OPUS,
        secrets={key: Secret(value) for key, value in OAUTH.items()},
    )
    return replace(command, **fields)


def together(world: World, commands: Sequence[CreateWorkspace]) -> list[Made]:
    store, deployment = world.store, world.deployment
    stored = create_workspaces.run(store, commands, deployment)
    return create_workspaces.finish(store, commands, stored, deployment, world.registry)


def alone(world: World, command: CreateWorkspace, stored: Made) -> CreateWorkspaceResult:
    """The rest of one that a batch has stored and not finished."""
    assert isinstance(stored, Stored)
    return create_workspace.answer(
        world.store, command, world.deployment, world.registry, stored=stored
    )


def repeated(world: World, command: CreateWorkspace) -> CreateWorkspaceResult:
    """The same request again, by itself."""
    again = replace(command, workspace_id=new_id())
    return create_workspace.run(world.store, again, world.deployment, world.registry, world.prober)


def token_of(made: Made) -> str:
    assert isinstance(made, CreateWorkspaceResult)
    assert (made.auth_token_error, made.workspace.admitted) == ("", True)
    assert made.auth_token is not None
    return made.auth_token.reveal()


def error_of(made: Made) -> str:
    assert isinstance(made, CreateWorkspaceResult)
    assert made.auth_token is None
    return made.auth_token_error


def admitted(world: World, commands: Sequence[CreateWorkspace]) -> list[bool]:
    """Whether each is stored as known to the registry; then nothing is left to be told."""
    found = {
        row[0]: (row[1], row[2])
        for row in world.sql(
            "SELECT workspace_id::text, admitted, (SELECT count(*) FROM provision.outbox"
            " WHERE workspace_id = w.workspace_id) FROM provision.workspaces w"
        )
    }
    assert all(known != bool(messages) for known, messages in found.values())
    return [found[command.workspace_id][0] for command in commands]


def drained(world: World) -> int:
    world.sql("UPDATE provision.outbox SET next_attempt_time = now()")
    draining = DrainOutbox(jitter=lambda: 0.0)
    return drain_outbox.run(world.store, draining, world.deployment, world.registry).delivered


@pytest.mark.parametrize("count", [1, 30])
def test_a_batch_asks_the_registry_once_and_writes_it_down_once(world: World, count: int) -> None:
    together(world, [create_of()])
    commands = [
        create_of(call=replace(LAUNCHER, correlation_id=f"call-{place}")) for place in range(count)
    ]
    engine = world.store.database.engine
    stored = create_workspaces.run(world.store, commands, world.deployment)
    world.registry.calls.clear()
    world.registry.correlation_ids.clear()
    with statements(engine) as sent, commits(engine) as made:
        answers = create_workspaces.finish(
            world.store, commands, stored, world.deployment, world.registry
        )
    assert world.registry.calls == ["admit_many"]
    assert world.registry.correlation_ids == [f"call-{place}" for place in range(count)]
    assert (len(sent), len(made)) == (1, 1)
    assert len({token_of(answer) for answer in answers}) == count
    assert admitted(world, commands) == [True] * count


def test_one_that_the_registry_refuses_is_answered_as_alone_and_disturbs_nobody(
    world: World,
) -> None:
    commands = [create_of(), create_of(tenant_id=GLOBEX), create_of()]
    removed, known = commands[:2]
    world.registry.retired.add(removed.workspace_id)
    world.registry.known_before.add(known.workspace_id)
    answers = together(world, commands)
    assert [isinstance(answer, Stored) for answer in answers] == [True, True, False]
    assert token_of(answers[2]).startswith("awa_")
    assert admitted(world, commands) == [False, False, True]
    assert error_of(alone(world, removed, answers[0])) == "WORKSPACE_REMOVED: retired"
    assert error_of(alone(world, known, answers[1])) == (
        "FIRST_TOKEN_NOT_ISSUED: the registry knew the workspace before it was asked for a first"
        " token, and mints none by admitting twice; an admin's MintToken makes one"
    )
    assert admitted(world, commands) == [False, True, True]
    assert world.registry.calls == ["admit_many", "admit", "admit"]


def test_a_hash_that_the_caller_made_is_asked_for_alone(world: World) -> None:
    used, made = commands = [
        create_of(auth_token_sha256=USED_HASH),
        create_of(auth_token_sha256="b" * 64),
    ]
    answers = together(world, commands)
    assert world.registry.calls == []
    assert error_of(alone(world, used, answers[0])) == "TOKEN_HASH_IN_USE: used before"
    assert error_of(alone(world, made, answers[1])) == ""
    assert world.registry.calls == ["admit", "admit"]
    # Of the first only the hash is refused, which its message no longer carries.
    assert admitted(world, commands) == [False, True]
    assert drained(world) == 1


@pytest.mark.parametrize("answer_is_lost", [False, True])
def test_without_the_registry_all_are_stored_and_told_that_it_did_not_answer(
    world: World, answer_is_lost: bool
) -> None:
    """Lost: the registry made the tokens, and dies before it says so."""

    def lose(_call: str) -> None:
        raise RegistryUnavailable

    commands = [create_of() for _ in range(3)]
    world.registry.down = not answer_is_lost
    if answer_is_lost:
        world.registry.after = lose
    answers = together(world, commands)
    assert [error_of(answer) for answer in answers] == [UNAVAILABLE] * 3
    assert admitted(world, commands) == [False] * 3
    world.registry.down, world.registry.after = False, lambda _call: None
    again = repeated(world, commands[0])
    assert again.workspace.id == commands[0].workspace_id
    assert token_of(again).startswith("awa_")
    assert drained(world) == 2
    assert admitted(world, commands) == [True] * 3


@pytest.mark.parametrize("refused", [False, True])
def test_a_registry_that_takes_no_batch_is_asked_for_each(world: World, refused: bool) -> None:
    """It is of an earlier version, or refuses the whole."""
    commands = [create_of() for _ in range(3)]
    if refused:
        world.registry.refusals["admit_many"] = RegistryRefused("INVALID_REQUEST", "no")
    else:
        world.registry.older = True
    answers = together(world, commands)
    for command, answer in zip(commands, answers, strict=True):
        assert token_of(alone(world, command, answer)).startswith("awa_")
    assert world.registry.calls[-3:] == ["admit"] * 3
    assert admitted(world, commands) == [True] * 3


def test_a_call_with_less_time_than_the_registry_may_take_is_left_alone(world: World) -> None:
    """The registry may take 2 s for an admission."""
    soon = replace(LAUNCHER, deadline=time.monotonic() + 1.9)
    later = replace(LAUNCHER, deadline=time.monotonic() + 60)
    commands = [create_of(call=soon), create_of(call=later), create_of()]
    answers = together(world, commands)
    assert [answer is None for answer in answers] == [True, False, False]
    assert world.count("workspaces") == 2
    assert len({token_of(answer) for answer in answers[1:]}) == 2


@pytest.mark.parametrize(
    "fault",
    [OperationalError("UPDATE", {}, Exception("connection lost")), OutcomeUnknown()],
    ids=["the statement", "the commit"],
)
def test_a_database_that_fails_after_the_tokens_were_made_swallows_none(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def lost(*_: object) -> None:
        raise fault

    commands = [create_of() for _ in range(3)]
    with monkeypatch.context() as broken:
        broken.setattr(outbox, "confirm_admissions", lost)
        answers = together(world, commands)
    assert len({token_of(answer) for answer in answers}) == 3
    assert admitted(world, commands) == [False] * 3
    assert drained(world) == 3


def test_batches_beside_each_other_admit_each_workspace_once(world: World) -> None:
    """Of the same new tenants and requests, in different orders, while the outbox is told, too."""
    for _ in range(5):
        asked = [create_of(tenant_id=f"tenant-{new_id()}") for _ in range(6)]
        made: list[Made] = []

        def batch(order: Sequence[CreateWorkspace], made: list[Made] = made) -> None:
            made += together(world, [replace(each, workspace_id=new_id()) for each in order])

        orders = (asked, asked[::-1], asked[3:] + asked[:3])
        calls: list[Callable[[], object]] = [
            partial(drained, world),
            *(partial(batch, order) for order in orders),
        ]
        answers = at_once(calls)
        assert [each for each in answers if isinstance(each, Exception)] == []
        whole = [each for each in made if isinstance(each, CreateWorkspaceResult)]
        tenants = [each.workspace.tenant_id for each in whole]
        assert len(tenants) == len(set(tenants))
        assert len({token_of(each) for each in whole}) == len(whole)
    drained(world)
    assert world.sql("SELECT workspace_id FROM provision.workspaces WHERE NOT admitted") == []
    assert world.count("outbox") == 0
