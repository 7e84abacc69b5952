"""Launches of many at once leave what single ones leave, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from provision_service.domain.lifecycle import ProvisionReason, ProvisionState
from provision_service.domain.plan import EnvironmentPlan
from provision_service.domain.records import Provision
from provision_service.launch import begin, deliver, launches, provision_workspace
from provision_service.launch.claim import Claimed
from provision_service.launch.deliver import Ready
from provision_service.launch.provision_workspace import (
    ProvisionWorkspace,
    ProvisionWorkspaceResult,
)
from provision_service.storage import workspaces
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import (
    ACME,
    LAUNCHER,
    OF_GLOBEX,
    OPUS,
    World,
    at_once,
    emptied,
    opened,
)
from tests.storage.sent_statements import statements

_TABLES = {
    "workspaces": "to_jsonb(t) - 'workspace_id' - 'create_time' - 'update_time'",
    "provisions": "to_jsonb(t) - 'workspace_id' - 'provision_id' - 'request_id' - 'create_time'"
    " - 'lease_expire_time' - 'deliver_time' - 'complete_time' - 'manifest' - 'billing'"
    " || jsonb_build_object('names', jsonb_path_query_array(manifest, '$[*][0]'),"
    " 'mode', jsonb_path_query_array(billing, '$.**.resolved_mode'),"
    " 'leased', t.lease_expire_time > now(), 'delivered', t.deliver_time IS NOT NULL,"
    " 'open', t.complete_time IS NULL)",
    "audit_events": "to_jsonb(t) - 'workspace_id' - 'event_id' - 'seq' - 'xact' - 'create_time'"
    " - 'subject'",
}


@pytest.fixture
def world(provision_database: str, tmp_path: Path) -> Iterator[World]:
    with opened(emptied(provision_database), tmp_path) as world:
        yield world


def launch_of(workspace_id: str, **fields: Any) -> ProvisionWorkspace:
    command = ProvisionWorkspace(
        call=LAUNCHER,
        workspace_id=workspace_id,
        provision_id=new_id(),
        reason=ProvisionReason.CREATE,
        request_id=new_id(),
    )
    return replace(command, **fields)


def claim(world: World, *commands: ProvisionWorkspace) -> list[Claimed | None]:
    return launches.claim(world.store, commands, world.deployment)


def begun(world: World, command: ProvisionWorkspace, taken: Claimed) -> Ready:
    one = begin.begin(world.store, world.deployment, world.registry, command.call, taken)
    assert one.ticket is not None
    return Ready(call=command.call, taken=taken, incarnation=one.number, ticket=one.ticket)


def hand_out(world: World, *ready: Ready) -> list[tuple[Provision, EnvironmentPlan] | None]:
    return launches.hand_out(world.store, ready, world.deployment)


def alone(world: World, command: ProvisionWorkspace) -> ProvisionWorkspaceResult:
    return provision_workspace.run(
        world.store, command, world.deployment, world.registry, world.prober
    )


def change(world: World, table: str, workspace_id: str, values: str) -> None:
    world.sql(
        f"UPDATE provision.{table} SET {values} WHERE workspace_id = :id",  # noqa: S608
        id=workspace_id,
    )


def left_behind(world: World, workspace_id: str) -> dict[str, list[Any]]:
    """Everything stored of a workspace but ids and times."""
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


@pytest.mark.parametrize("again", [False, True])
def test_a_batch_leaves_what_a_single_launch_leaves(world: World, again: bool) -> None:
    ids = [world.create().id for _ in range(3)]
    if again:
        # One before it is over, another is superseded, and an operator wants a launch.
        for each in ids:
            first = alone(world, launch_of(each))
            world.complete(first.provision)
            since = "needs_launch_reason = 'SILENT', needs_launch_since = now()"
            change(world, "workspaces", each, since)
    single, *commands = [launch_of(each, reason=ProvisionReason.RESTART) for each in ids]
    expected = alone(world, single)
    taken = claim(world, *commands)
    ready = [
        begun(world, command, each)
        for command, each in zip(commands, taken, strict=True)
        if each is not None
    ]
    assert len(ready) == 2
    for command, found, one in zip(commands, hand_out(world, *ready), ready, strict=True):
        assert found is not None
        answer = provision_workspace.delivered(one, found)
        assert answer.env is not None
        assert expected.env is not None
        assert answer.env.reveal().keys() == expected.env.reveal().keys()
        assert answer.env.reveal()["CLAUDE_CODE_OAUTH_TOKEN"] == "sk-ant-oat-of-the-tenant"
        assert answer.provision.id == command.provision_id
        assert answer.provision.state is ProvisionState.ENV_DELIVERED
        assert answer.provision.incarnation == (2 if again else 1)
        assert (answer.joined, answer.skipped, answer.warnings) == (False, False, ())
        assert left_behind(world, command.workspace_id) == left_behind(world, single.workspace_id)


def test_what_is_not_that_simple_is_left_to_a_single_launch(world: World) -> None:
    held, own, removed, unheard, external, refused = (world.create().id for _ in range(6))
    alone(world, launch_of(held))
    asked = launch_of(own)
    assert claim(world, asked) != [None]
    change(world, "workspaces", removed, "remove_time = now()")
    change(world, "workspaces", unheard, "admitted = false")
    change(world, "workspaces", external, "runtime = 'external'")
    world.sql("DELETE FROM provision.secrets WHERE workspace_id = :id", id=refused)
    before = [left_behind(world, each) for each in (held, own, removed, external, refused)]
    answers = claim(
        world,
        launch_of(held),
        asked,
        launch_of(removed),
        launch_of(unheard),
        launch_of(external),
        launch_of(refused),
        launch_of(new_id()),
        launch_of(world.create().id, call=OF_GLOBEX),
        launch_of(world.create().id, validate_only=True),
        launch_of(world.create().id, reason=ProvisionReason.RESUME),
    )
    assert answers == [None] * 10
    after = [left_behind(world, each) for each in (held, own, removed, external, refused)]
    assert after == before


def test_a_claim_that_was_lost_meanwhile_hands_out_nothing(world: World) -> None:
    kept, overtaken, ended = (world.create().id for _ in range(3))
    commands = [launch_of(each) for each in (kept, overtaken, ended)]
    ready = [
        begun(world, command, taken)
        for command, taken in zip(commands, claim(world, *commands), strict=True)
        if taken is not None
    ]
    change(world, "workspaces", overtaken, "incarnation = 7")
    change(world, "provisions", ended, "lease_expire_time = now()")
    answers = hand_out(world, *ready)
    assert [answer is not None for answer in answers] == [True, False, False]
    for lost in ready[1:]:
        with pytest.raises(Refusal, match="its claim ended before it was ready"):
            deliver.deliver(world.store, world.deployment, lost)


def test_a_workspace_that_another_transaction_holds_keeps_nobody_waiting(world: World) -> None:
    held, free = world.create().id, world.create().id
    commands = [launch_of(held), launch_of(free)]
    with world.store.transaction() as tx:
        workspaces.lock(tx, held)
        answers = claim(world, *commands)
    assert [answer is not None for answer in answers] == [False, True]


def test_batches_and_single_launches_of_the_same_workspaces_claim_each_once(world: World) -> None:
    for _ in range(4):
        ids = [world.create().id for _ in range(6)]
        orders = [ids, ids[::-1], [ids[0], *ids[3:], *ids[:3]]]
        calls: list[Callable[[], object]] = [
            *(partial(claim, world, *map(launch_of, order)) for order in orders),
            *(partial(alone, world, launch_of(each)) for each in ids),
        ]
        failures = [item for item in at_once(calls) if isinstance(item, Exception)]
        assert failures == []
        for each in ids:
            (row,) = world.sql(
                "SELECT count(*) FROM provision.provisions WHERE workspace_id = :id", id=each
            )
            assert row[0] == 1


@pytest.mark.parametrize("count", [1, 20])
def test_a_batch_takes_three_statements_and_two_however_large(world: World, count: int) -> None:
    world.launch(world.create())
    commands = [launch_of(world.create().id) for _ in range(count)]
    engine = world.store.database.engine
    with statements(engine) as sent:
        taken = claim(world, *commands)
    assert len(sent) == 3
    ready = [
        begun(world, command, each)
        for command, each in zip(commands, taken, strict=True)
        if each is not None
    ]
    with statements(engine) as sent:
        answers = hand_out(world, *ready)
    assert len(answers) == count
    assert None not in answers
    assert len(sent) == 2


def test_a_token_that_serves_one_tenant_is_bound_by_a_single_launch(world: World) -> None:
    workspace = world.create(OPUS, tenant=ACME)
    platform = replace(world.deployment.platform, usage_token=Secret("usage-of-the-deployment"))
    world.deploy(platform=platform)
    assert claim(world, launch_of(workspace.id)) == [None]
