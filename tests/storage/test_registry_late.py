"""Whom the sweep looks at: between two looks at every box only at those that were late."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from agentworkspace.core.ids import WorkspaceId
from registry_service.workers import mark_offline, write_pulse
from registry_service.workers.mark_offline import Late, MarkOffline
from tests.storage.registry_world import World, world_at


@pytest.fixture
def world(registry_database: str) -> Iterator[World]:
    with world_at(registry_database) as world:
        yield world


def up_for(world: World, seconds: int) -> None:
    write_pulse.run(world.store)
    world.sql(
        "UPDATE registry.pulse SET up_since = clock_timestamp() - %(span)s",
        span=timedelta(seconds=seconds),
    )


def silent(world: World, seconds: int) -> WorkspaceId:
    workspace_id = world.workspace()
    world.box(workspace_id)
    world.silence(workspace_id, timedelta(seconds=seconds))
    return workspace_id


def test_late_is_who_was_not_heard_of_for_half_of_three_intervals(world: World) -> None:
    up_for(world, 3600)
    silent(world, 43)
    late, gone = silent(world, 46), silent(world, 91)
    left = silent(world, 91)
    world.sql(
        "UPDATE registry.registrations SET state = 'OFFLINE' WHERE workspace_id = %(id)s", id=left
    )
    assert mark_offline.find_late(world.store) == {late, gone}
    assert len(mark_offline.find_late(world.store, limit=1)) == 1


def test_nobody_is_late_for_time_in_which_the_registry_was_away(world: World) -> None:
    up_for(world, 43)
    late = silent(world, 3600)
    assert mark_offline.find_late(world.store) == frozenset()
    up_for(world, 46)
    assert mark_offline.find_late(world.store) == {late}


def test_only_those_that_were_late_are_looked_at_and_judged_anew(world: World) -> None:
    up_for(world, 3600)
    gone, other = silent(world, 91), silent(world, 91)
    late = silent(world, 46)
    (marked,) = mark_offline.run(world.store, MarkOffline(among=[gone, late]))
    assert marked.workspace_id == gone
    assert mark_offline.find_late(world.store) == {other, late}


def test_a_look_that_cannot_take_all_takes_those_that_are_silent_longest(world: World) -> None:
    """Wherever they stand in the table: many may be late for ever, and none of them silent."""
    up_for(world, 3600)
    boxes = [silent(world, 46) for _ in range(3)]
    for each in boxes:
        world.silence(each, timedelta(seconds=91))
        assert mark_offline.find_late(world.store, limit=1) == {each}
        world.silence(each, timedelta(seconds=46))


@pytest.mark.parametrize(
    ("interval", "period", "again"), [(30, 5, 35), (3600, 5, 5390), (6, 5, 0), (1, 5, 0)]
)
def test_whoever_can_be_offline_at_a_sweep_was_late_at_the_last_look(
    interval: int, period: float, again: float
) -> None:
    """A box is late for 1.5 intervals: a look that is due, one sweep late, and one more."""
    late = Late(timedelta(seconds=interval), period=period)
    assert late.is_due(1000.0)
    late.found(frozenset({WorkspaceId("a")}), looked=1000.0)
    assert not late.is_due(1000.0 + again - 0.1)
    assert late.is_due(1000.0 + again)


def test_a_look_that_found_as_many_as_it_may_is_no_whole_one() -> None:
    late = Late(timedelta(seconds=30), period=5)
    late.found(frozenset(WorkspaceId(str(number)) for number in range(10_000)), looked=1000.0)
    assert late.is_due(1000.0)
