"""Creates of many at once leave what single ones leave, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.core.secret import Secret
from provision_service.commands import create_workspace, create_workspaces
from provision_service.commands.create_workspace import CreateWorkspace, Stored
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import (
    ACME,
    GLOBEX,
    LAUNCHER,
    OAUTH,
    OF_GLOBEX,
    OPUS,
    PLATFORM_MODEL,
    PROXY,
    World,
    at_once,
    emptied,
    opened,
)
from tests.storage.sent_statements import statements

_TABLES = {
    "workspaces": "to_jsonb(t) - 'workspace_id' - 'create_time' - 'update_time'",
    "outbox": "to_jsonb(t) - 'workspace_id' - 'seq' - 'next_attempt_time' - 'create_time'"
    " || jsonb_build_object('payload', t.payload - 'workspace_id')",
    "secrets": "to_jsonb(t) - 'workspace_id' - 'secret_id' - 'ciphertext' - 'nonce'"
    " - 'create_time' - 'update_time'",
    "audit_events": "to_jsonb(t) - 'workspace_id' - 'event_id' - 'seq' - 'xact' - 'create_time'",
}


@pytest.fixture
def world(provision_database: str, tmp_path: Path) -> Iterator[World]:
    with opened(emptied(provision_database), tmp_path) as world:
        yield world


def create_of(secrets: Mapping[str, str] = OAUTH, **fields: Any) -> CreateWorkspace:
    command = CreateWorkspace(
        call=LAUNCHER,
        workspace_id=new_id(),
        request_id=new_id(),
        tenant_id=ACME,
        spec=OPUS,
        secrets={key: Secret(value) for key, value in secrets.items()},
    )
    return replace(command, **fields)


def together(world: World, *commands: CreateWorkspace) -> list[Stored | None]:
    return create_workspaces.run(world.store, commands, world.deployment)


def left_behind(world: World, workspace_id: str) -> dict[str, list[Any]]:
    """Everything stored of a workspace but ids, times and what is sealed."""
    return {
        table: sorted(
            str(row[0])
            for row in world.sql(
                f"SELECT {shown} FROM provision.{table} t WHERE workspace_id = :id",  # noqa: S608
                id=workspace_id,
            )
        )
        for table, shown in _TABLES.items()
    }


def rows(world: World) -> dict[str, int]:
    return {table: world.count(table) for table in (*_TABLES, "requests", "tenants")}


def test_a_batch_leaves_what_a_single_create_leaves(world: World) -> None:
    world.set_global("GREETING", "hello")
    spec = replace(OPUS, role="reviewer", compute={"cpu": "2"}, required_env=("A_NAME",))
    given = {"A_NAME": "a value of some length", "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-x"}
    fields: dict[str, Any] = {"spec": spec, "secret_providers": {"A_NAME": ""}}
    alone, one, other = (create_of(given, **fields) for _ in range(3))
    single = create_workspace.run(
        world.store, alone, world.deployment, world.registry, world.prober
    )
    answers = together(world, one, other)
    for command, stored in zip((one, other), answers, strict=True):
        assert stored is not None
        asked = create_workspace.answer(
            world.store, command, world.deployment, world.registry, stored=stored
        )
        assert asked.auth_token is not None
        assert asked.workspace.id == command.workspace_id
        assert (
            replace(
                asked.workspace,
                id=single.workspace.id,
                create_time=single.workspace.create_time,
                update_time=single.workspace.update_time,
            )
            == single.workspace
        )
        assert asked.billing.resolution.steps == single.billing.resolution.steps
        assert asked.warnings == single.warnings
        assert left_behind(world, command.workspace_id) == left_behind(world, alone.workspace_id)
    # What was sealed is found again: it belongs to this very row.
    launched = world.launch(asked.workspace)
    assert launched.env is not None
    assert launched.env.reveal()["A_NAME"] == "a value of some length"


def test_what_is_not_that_simple_is_left_to_a_single_create(world: World) -> None:
    parent = world.create()
    answered = create_of()
    assert together(world, answered) != [None]
    before = rows(world)
    answers = together(
        world,
        answered,
        replace(answered, workspace_id=new_id(), spec=replace(OPUS, name="another")),
        create_of({}),
        create_of(spec=replace(OPUS, model="unheard-of")),
        create_of(spec=replace(OPUS, template="none-such")),
        create_of(spec=replace(OPUS, parent_id=parent.id)),
        create_of(call=OF_GLOBEX),
        create_of(validate_only=True),
        create_of(url_refusal=Refusal(SharedReason.INVALID_REQUEST, "no such url")),
    )
    assert answers == [None] * 9
    assert rows(world) == before


def test_one_request_is_stored_once_in_a_batch_and_one_refusal_is_its_own(world: World) -> None:
    asked, other = create_of(), create_of(tenant_id=GLOBEX)
    answers = together(world, asked, replace(asked, workspace_id=new_id()), create_of({}), other)
    assert [answer is not None for answer in answers] == [True, False, False, True]
    again = create_workspace.run(
        world.store,
        replace(asked, workspace_id=new_id()),
        world.deployment,
        world.registry,
        world.prober,
    )
    assert again.workspace.id == asked.workspace_id


def test_a_token_that_serves_one_tenant_is_bound_by_a_single_create(world: World) -> None:
    world.deploy(platform=replace(PROXY, usage_token=Secret("usage-token-of-the-deployment")))
    command = create_of({}, spec=replace(OPUS, model=PLATFORM_MODEL))
    assert together(world, command) == [None]
    world.deploy(usage_token_shared=True)
    assert together(world, command) != [None]


def test_batches_and_single_creates_of_the_same_requests_store_each_once(world: World) -> None:
    """Batches in either order against each other and against single calls."""
    for _ in range(5):
        asked = [create_of(tenant_id=f"tenant-{new_id()}") for _ in range(6)]
        orders = [asked, asked[::-1], asked[3:] + asked[:3]]
        copies = [[replace(each, workspace_id=new_id()) for each in order] for order in orders]
        single = [replace(each, workspace_id=new_id()) for each in asked]
        calls: list[Callable[[], object]] = [
            *(partial(together, world, *batch) for batch in copies),
            *(
                partial(
                    create_workspace.run,
                    world.store,
                    command,
                    world.deployment,
                    world.registry,
                    world.prober,
                )
                for command in single
            ),
        ]
        failures = [item for item in at_once(calls) if isinstance(item, Exception)]
        assert failures == []
        for command in asked:
            found = world.sql(
                "SELECT count(*) FROM provision.workspaces WHERE tenant_id = :id",
                id=command.tenant_id,
            )
            assert [row[0] for row in found] == [1]


@pytest.mark.parametrize("count", [1, 30])
def test_a_batch_takes_four_statements_however_large(world: World, count: int) -> None:
    together(world, create_of())
    with statements(world.store.database.engine) as sent:
        answers = together(world, *(create_of() for _ in range(count)))
    assert None not in answers
    assert len(sent) == 4
