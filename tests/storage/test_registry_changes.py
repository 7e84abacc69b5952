"""What changed since a watcher looked last: each change is told, and a steady heartbeat is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.refusal import SharedReason
from agentworkspace.service import paging
from registry_service.commands import list_registrations, retire_workspace
from registry_service.commands.list_registrations import ListRegistrations, RegistrationPage
from registry_service.commands.retire_workspace import RetireWorkspace
from registry_service.domain.relaunch import RelaunchReason
from registry_service.domain.tokens import RevokeReason, TokenKind
from registry_service.workers import write_pulse
from tests.storage.registry_world import (
    CONFINED,
    OPERATOR,
    ORIGIN,
    World,
    all_at_once,
    reason_of,
    sweep_offline,
    world_at,
)

ID = "0b6ae4a6-6c0b-4ee7-9d0a-1f6b8f2f5a11"


@pytest.fixture
def world(registry_database: str) -> Iterator[World]:
    with world_at(registry_database) as world:
        write_pulse.run(world.store)
        world.sql("UPDATE registry.pulse SET up_since = up_since - interval '1 day'")
        yield world


def look(world: World, after: int, **fields: Any) -> RegistrationPage:
    command = ListRegistrations(caller=OPERATOR, changed_after=after)
    return list_registrations.run(world.store, replace(command, **fields))


def changed(page: RegistrationPage) -> list[WorkspaceId]:
    return [item.workspace_id for item in page.rows]


def told(world: World, workspace_id: WorkspaceId, change: Callable[[], object]) -> bool:
    """Whether this is a change, which whoever had seen everything then hears of.

    Older ones may be told again, as long as any transaction of that time runs in any database.
    """
    stamp, before = world.registration(workspace_id).changed, look(world, 0).revision
    change()
    if world.registration(workspace_id).changed == stamp:
        return False
    assert workspace_id in changed(look(world, before))
    return True


def test_every_change_that_a_watcher_would_look_at_is_told(world: World) -> None:
    workspace_id = world.workspace()
    ticket = world.ticket(workspace_id)
    hears = partial(told, world, workspace_id)
    boxes = []
    assert hears(lambda: boxes.append(world.box(workspace_id, ticket=ticket)))
    assert hears(partial(world.heartbeat, workspace_id, boxes[0]))
    assert hears(partial(world.heartbeat, workspace_id, boxes[0], degraded=True))
    world.silence(workspace_id, timedelta(minutes=2))
    assert hears(partial(sweep_offline, world.store))
    assert hears(partial(world.heartbeat, workspace_id, boxes[0]))
    assert hears(partial(world.deregister, workspace_id, boxes[0]))
    assert hears(partial(world.register, workspace_id, ticket=ticket))
    assert hears(partial(world.revoke_all, workspace_id, RevokeReason.SUSPENDED))
    assert hears(partial(world.begin, workspace_id, lift_suspension=True))
    tickets = frozenset({TokenKind.TICKET})
    assert hears(partial(world.revoke_all, workspace_id, RevokeReason.OPERATOR, kinds=tickets))
    shown = {"ticket": ticket}
    assert not hears(partial(world.refused_later, workspace_id, timedelta(0), **shown))
    retire = RetireWorkspace(origin=ORIGIN, caller=OPERATOR, workspace_id=workspace_id)
    assert hears(partial(retire_workspace.run, world.store, retire))


def test_a_refusal_of_the_newest_box_is_told_once(world: World) -> None:
    workspace_id = world.workspace()
    ticket = world.ticket(workspace_id)
    box = world.box(workspace_id, ticket=ticket)
    world.heartbeat(workspace_id, box)
    refuse = partial(world.refused_later, workspace_id, timedelta(seconds=30), ticket=ticket)
    assert told(world, workspace_id, refuse)
    assert not told(world, workspace_id, refuse)
    # What becomes of it by time alone says when to look again.
    (seen,) = look(world, 0).rows
    assert (seen.relaunch, seen.relaunch_check_time is not None) == (None, True)
    for _ in range(6):
        refuse()
    (seen,) = look(world, 0).rows
    assert seen.relaunch is not None
    assert seen.relaunch.reason is RelaunchReason.NEWEST_REFUSED


def test_a_steady_heartbeat_and_a_box_that_only_says_it_is_back_are_no_change(
    world: World,
) -> None:
    workspace_id = world.workspace()
    ticket = world.ticket(workspace_id)
    box = world.box(workspace_id, ticket=ticket)
    world.heartbeat(workspace_id, box)
    assert not told(world, workspace_id, partial(world.heartbeat, workspace_id, box))
    assert not told(world, workspace_id, partial(world.register, workspace_id, bearer=box))


def test_pages_of_one_look_hold_each_change_and_lead_to_the_next(world: World) -> None:
    everybody = [world.workspace() for _ in range(7)]
    seen: list[WorkspaceId] = []
    token, revisions = "", set()
    for _ in range(4):
        page = look(world, 0, page_size=2, page_token=token)
        seen += changed(page)
        revisions.add(page.revision)
        token = page.next_page_token
    assert (sorted(seen), token, len(revisions)) == (sorted(everybody), "", 1)
    late = world.workspace()
    assert changed(look(world, revisions.pop()))[-1] == late


def test_a_revision_of_a_database_that_was_set_back_begins_anew(world: World) -> None:
    workspace_id = world.workspace()
    assert changed(look(world, 2**60)) == [workspace_id]


def test_a_look_keeps_to_tenants_and_its_pages_to_the_look(world: World) -> None:
    workspaces = [world.workspace() for _ in range(2)]
    assert changed(look(world, 0, caller=CONFINED)) == []
    page = look(world, 0, page_size=1)
    other = {"page_token": page.next_page_token, "page_size": 1}
    assert reason_of(lambda: look(world, 1, **other)) is SharedReason.INVALID_REQUEST
    assert changed(look(world, 0, workspace_ids=(workspaces[1],))) == [workspaces[1]]


@pytest.mark.parametrize("place", [[2**63, ID, 0], [-1, ID, 0], [0, "x", 0], [0, ID, 1e400]])
def test_a_forged_page_of_changes_is_never_a_fault_of_the_database(
    world: World, place: list[object]
) -> None:
    command = ListRegistrations(caller=OPERATOR, changed_after=0)
    forged = paging.token_of(command, place)
    assert reason_of(lambda: look(world, 0, page_token=forged)) is SharedReason.INVALID_REQUEST


def test_no_change_is_lost_to_a_look_that_another_transaction_overtakes(world: World) -> None:
    """A change that commits after a younger one was seen is told by the next look."""
    slow, fast = world.workspace(), world.workspace()
    start = look(world, 0).revision
    stamp = world.registration(slow).changed
    with world.store.transaction() as connection:
        connection.exec_driver_sql(
            "UPDATE registry.registrations SET changed = pg_current_xact_id()::text::bigint"
            " WHERE workspace_id = %(id)s",
            {"id": slow},
        )
        world.begin(fast)
        first = look(world, start)
        assert fast in changed(first)
    assert world.registration(slow).changed > stamp
    assert slow in changed(look(world, first.revision))


def test_looks_at_once_with_changes_miss_none(world: World) -> None:
    workspaces = [world.workspace() for _ in range(12)]
    heard: set[WorkspaceId] = set()
    revision = look(world, 0).revision

    def watch() -> None:
        nonlocal revision
        for _ in range(30):
            page = look(world, revision)
            heard.update(changed(page))
            revision = page.revision

    assert not [
        each
        for each in all_at_once([watch, *(partial(world.begin, each) for each in workspaces)])
        if isinstance(each, Exception)
    ]
    heard.update(changed(look(world, revision)))
    assert heard >= set(workspaces)
