"""Heartbeats that change nothing: answered from what is stored, and written a moment later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from registry_service.commands import heartbeats, retire_workspace
from registry_service.commands.heartbeats import Heartbeat, Heartbeaten
from registry_service.commands.retire_workspace import RetireWorkspace
from registry_service.domain.admission import NextAction
from registry_service.domain.liveness import RegistrationState
from registry_service.domain.standing import BootstrapPolicy
from registry_service.domain.tokens import RevokeReason, TokenKind
from registry_service.workers import write_pulse
from tests.storage.registry_world import (
    OPERATOR,
    ORIGIN,
    World,
    new_secret,
    new_workspace_id,
    sha256,
    sweep_offline,
    world_at,
)
from tests.storage.sent_statements import statements


@pytest.fixture
def world(registry_database: str) -> Iterator[World]:
    with world_at(registry_database) as world:
        write_pulse.run(world.store)
        world.sql("UPDATE registry.pulse SET up_since = up_since - interval '1 day'")
        yield world


def beating(world: World) -> tuple[WorkspaceId, Secret]:
    """A box that came with its ticket and has said that it is well."""
    workspace_id = world.workspace()
    token = world.launched(workspace_id)
    world.heartbeat(workspace_id, token)
    return workspace_id, token


def silent_for(world: World, workspace_id: WorkspaceId) -> timedelta:
    """By what is stored."""
    ((silence,),) = world.sql(
        "SELECT clock_timestamp() - last_heartbeat_time FROM registry.registrations"
        " WHERE workspace_id = %(id)s",
        id=workspace_id,
    )
    assert isinstance(silence, timedelta)
    return silence


def test_a_heartbeat_that_says_nothing_new_is_answered_at_once_and_written_later(
    world: World,
) -> None:
    workspace_id, token = beating(world)
    world.silence(workspace_id, timedelta(seconds=30))
    changed = world.registration(workspace_id).changed
    answer = world.steady(workspace_id, token)
    assert isinstance(answer, Heartbeaten)
    assert (answer.next_action, answer.incarnation) == (NextAction.NONE, 1)
    assert answer.token_id == world.token_of(workspace_id, token).token.token_id
    assert silent_for(world, workspace_id) >= timedelta(seconds=30)
    assert world.flush() == frozenset()
    seen = world.registration(workspace_id)
    # As late as it came, not as it was written; and no watcher is told.
    assert (seen.last_heartbeat_time, seen.changed) == (answer.time, changed)


def test_the_first_healthy_heartbeat_does_not_wait(world: World) -> None:
    workspace_id = world.workspace()
    token = world.launched(workspace_id)
    assert world.steady(workspace_id, token) is None
    world.heartbeat(workspace_id, token, degraded=True)
    assert world.steady(workspace_id, token, degraded=True) is not None
    assert world.steady(workspace_id, token) is None
    world.heartbeat(workspace_id, token)
    assert world.registration(workspace_id).healthy_incarnation == 1
    assert world.steady(workspace_id, token) is not None


def test_what_is_new_does_not_wait(world: World) -> None:
    workspace_id, token = beating(world)
    assert world.steady(workspace_id, token, active_tasks=1) is None
    assert world.steady(workspace_id, token, sample_error="x") is None
    assert world.steady(workspace_id, token, degraded=True) is None
    world.heartbeat(workspace_id, token, active_tasks=1, sample_error="x")
    assert world.steady(workspace_id, token, active_tasks=1, sample_error="x") is not None
    assert world.steady(workspace_id, token, active_tasks=1) is None


def test_what_is_stored_must_be_younger_than_half_of_three_intervals(world: World) -> None:
    workspace_id, token = beating(world)
    world.silence(workspace_id, timedelta(seconds=43))
    assert world.steady(workspace_id, token) is not None
    world.silence(workspace_id, timedelta(seconds=45))
    assert world.steady(workspace_id, token) is None


def test_a_heartbeat_does_not_wait_behind_a_moment_that_has_not_come_yet(world: World) -> None:
    """The database's clock was set back, or another server took over whose clock is behind."""
    workspace_id, token = beating(world)
    world.silence(workspace_id, timedelta(hours=-1))
    assert world.steady(workspace_id, token) is None
    assert isinstance(world.heartbeat(workspace_id, token), Heartbeaten)
    assert silent_for(world, workspace_id) > timedelta(0)
    assert world.steady(workspace_id, token) is not None


def test_what_a_line_saw_is_not_read_again(world: World) -> None:
    workspace_id, token = beating(world)
    box = world.seen(workspace_id, token)
    assert box is not None
    with statements(world.store.database.engine) as sent:
        answer = world.heartbeat(workspace_id, token, active_tasks=5, seen=box)
    assert answer == Heartbeaten(NextAction.NONE, 1, box.token_id, box.time)
    assert world.registration(workspace_id).active_tasks == 5
    assert [each.split()[1] for each in sent if each.startswith("EXECUTE")] == ["beat"]


def test_boxes_whose_tokens_ended_together_are_told_so_by_one_statement(world: World) -> None:
    """A fleet of them asks in every interval, beside boxes that live."""
    boxes = [beating(world) for _ in range(4)]
    ends = [revoked, suspended, replaced]
    for (workspace_id, token), end in zip(boxes, ends, strict=False):
        end(world, workspace_id, token)
    nowhere = (new_workspace_id(), boxes[3][1])
    beats = [
        Heartbeat(workspace_id=workspace_id, bearer=token, policy=BootstrapPolicy.ADAPTIVE)
        for workspace_id, token in [*boxes, nowhere]
    ]
    with statements(world.store.database.engine) as sent:
        answers = heartbeats.run(world.store, beats)
    told = [
        answer.reason if isinstance(answer, Refusal) else answer.next_action for answer in answers
    ]
    assert told == ["REGISTER", "STOP", "STOP", "NONE", "WORKSPACE_UNKNOWN"]
    asked = [each.split()[1] for each in sent if each.startswith("EXECUTE")]
    assert asked == ["known", "beat", "bearers", "snapshots"]


def test_a_box_that_left_since_a_line_saw_it_is_told_so_and_not_revived(world: World) -> None:
    workspace_id, token = beating(world)
    box = world.seen(workspace_id, token)
    world.deregister(workspace_id, token)
    answer = world.heartbeat(workspace_id, token, active_tasks=5, seen=box)
    assert isinstance(answer, Heartbeaten)
    assert answer.next_action is NextAction.REGISTER
    seen = world.registration(workspace_id)
    assert (seen.state, seen.left, seen.active_tasks) == (RegistrationState.OFFLINE, True, 0)


def revoked(world: World, workspace_id: WorkspaceId, token: Secret) -> None:
    world.revoke(workspace_id, world.token_of(workspace_id, token).token.token_id)


def suspended(world: World, workspace_id: WorkspaceId, _token: Secret) -> None:
    world.revoke_all(workspace_id, RevokeReason.SUSPENDED)


def replaced(world: World, workspace_id: WorkspaceId, _token: Secret) -> None:
    world.launched(workspace_id)


def relaunched(world: World, workspace_id: WorkspaceId, _token: Secret) -> None:
    world.begin(workspace_id)


def left(world: World, workspace_id: WorkspaceId, token: Secret) -> None:
    world.deregister(workspace_id, token)


def retired(world: World, workspace_id: WorkspaceId, _token: Secret) -> None:
    retire = RetireWorkspace(origin=ORIGIN, caller=OPERATOR, workspace_id=workspace_id)
    retire_workspace.run(world.store, retire)


def expired(world: World, workspace_id: WorkspaceId, _token: Secret) -> None:
    world.expire(workspace_id, TokenKind.INSTANCE)


def rotated(world: World, workspace_id: WorkspaceId, token: Secret) -> None:
    new = new_secret(TokenKind.INSTANCE)
    world.register(workspace_id, bearer=token, token_sha256=sha256(new))
    world.heartbeat(workspace_id, new)


def offline(world: World, workspace_id: WorkspaceId, _token: Secret) -> None:
    world.silence(workspace_id, timedelta(seconds=91))
    assert len(sweep_offline(world.store)) == 1


ENDS = [revoked, suspended, replaced, relaunched, left, retired, expired, rotated, offline]


@pytest.mark.parametrize("end", ENDS)
def test_the_very_next_heartbeat_finds_what_happened(
    world: World, end: Callable[[World, WorkspaceId, Secret], None]
) -> None:
    workspace_id, token = beating(world)
    assert world.steady(workspace_id, token) is not None
    end(world, workspace_id, token)
    assert world.steady(workspace_id, token) is None


@pytest.mark.parametrize("end", [left, retired, offline])
def test_what_was_remembered_revives_nobody(
    world: World, end: Callable[[World, WorkspaceId, Secret], None]
) -> None:
    workspace_id, token = beating(world)
    world.steady(workspace_id, token)
    end(world, workspace_id, token)
    before = world.registration(workspace_id)
    assert before.state in (RegistrationState.OFFLINE, RegistrationState.REMOVED)
    assert world.flush() == frozenset()
    assert world.registration(workspace_id) == before


def test_a_box_that_was_marked_offline_is_back_with_its_next_heartbeat(world: World) -> None:
    workspace_id, token = beating(world)
    offline(world, workspace_id, token)
    changed = world.registration(workspace_id).changed
    assert isinstance(world.heartbeat(workspace_id, token), Heartbeaten)
    seen = world.registration(workspace_id)
    assert seen.state is RegistrationState.ONLINE
    assert seen.changed > changed


def test_what_was_remembered_of_an_older_box_is_no_sign_of_the_newer(world: World) -> None:
    workspace_id, token = beating(world)
    world.silence(workspace_id, timedelta(seconds=30))
    world.steady(workspace_id, token)
    world.launched(workspace_id)
    world.silence(workspace_id, timedelta(seconds=20))
    assert world.flush() == frozenset()
    assert silent_for(world, workspace_id) >= timedelta(seconds=20)


def test_what_was_remembered_never_takes_a_later_sign_of_life_back(world: World) -> None:
    workspace_id, token = beating(world)
    answer = world.steady(workspace_id, token)
    assert isinstance(answer, Heartbeaten)
    world.heartbeat(workspace_id, token, active_tasks=7)
    later = world.registration(workspace_id)
    assert later.last_heartbeat_time is not None
    assert later.last_heartbeat_time > answer.time
    assert world.flush() == frozenset()
    assert world.registration(workspace_id) == later


def test_a_busy_box_is_remembered_and_holds_up_no_other(world: World) -> None:
    busy, free = beating(world), beating(world)
    for workspace_id, token in (busy, free):
        world.silence(workspace_id, timedelta(seconds=30))
        assert world.steady(workspace_id, token) is not None
    with world.store.transaction() as connection:
        connection.exec_driver_sql(
            "SELECT 1 FROM registry.registrations WHERE workspace_id = %(id)s FOR UPDATE",
            {"id": busy[0]},
        )
        assert world.flush() == {busy[0]}
        assert silent_for(world, free[0]) < timedelta(seconds=30)
        assert silent_for(world, busy[0]) >= timedelta(seconds=30)
    assert world.flush() == frozenset()
    assert silent_for(world, busy[0]) < timedelta(seconds=30)


def test_a_sweep_that_knows_only_what_is_stored_leaves_a_box_alone_whose_heartbeat_waits(
    world: World, registry_database: str
) -> None:
    """One replica remembers, another sweeps, as late as what waits may be written."""
    workspace_id, token = beating(world)
    world.silence(workspace_id, timedelta(seconds=43))
    assert world.steady(workspace_id, token) is not None
    with world_at(registry_database) as other:
        # The flush is due 3 s after the heartbeat; it may fail fourteen times.
        world.silence(workspace_id, timedelta(seconds=43 + 14 * 3))
        assert sweep_offline(other.store) == ()
        assert other.registration(workspace_id).state is RegistrationState.ONLINE
    assert world.flush() == frozenset()


def test_a_box_that_reports_in_time_is_never_offline_though_all_that_waited_was_lost(
    world: World, registry_database: str
) -> None:
    """Its process is killed each time before it writes; another replica sweeps."""
    workspace_id, token = beating(world)
    waited = []
    with world_at(registry_database) as other:
        for _ in range(6):
            world.sql(
                "UPDATE registry.registrations"
                " SET last_heartbeat_time = last_heartbeat_time - interval '30 seconds'"
            )
            assert sweep_offline(other.store) == ()
            waited.append(world.steady(workspace_id, token) is not None)
            world.heard.take(500)
            if not waited[-1]:
                assert isinstance(world.heartbeat(workspace_id, token), Heartbeaten)
    # What was lost is noticed by the next heartbeat, which therefore does not wait.
    assert waited == [True, False, True, False, True, False]


def test_no_index_covers_what_a_steady_box_writes(world: World) -> None:
    """And its page has room: such an update stays in place (HOT), and no index learns of it."""
    rows = world.sql(
        """
        SELECT DISTINCT a.attrelid::regclass::text, a.attname::text
        FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
        WHERE i.indrelid IN ('registry.registrations'::regclass, 'registry.tokens'::regclass)
            AND (a.attnum = ANY(i.indkey) OR pg_get_expr(i.indpred, i.indrelid) ~ a.attname::text)
        """
    )
    indexed = {(table, column) for table, column in rows}
    assert ("registry.registrations", "workspace_id") in indexed
    assert not indexed & {
        ("registry.registrations", "last_heartbeat_time"),
        ("registry.registrations", "active_tasks"),
        ("registry.registrations", "sample_error"),
        ("registry.registrations", "state"),
        ("registry.registrations", "healthy_incarnation"),
        ("registry.tokens", "last_use_time"),
    }
    room = world.sql(
        "SELECT relname::text, reloptions FROM pg_class"
        " WHERE oid IN ('registry.registrations'::regclass, 'registry.tokens'::regclass)"
        " ORDER BY relname"
    )
    assert [(name, options) for name, options in room] == [
        ("registrations", ["fillfactor=70"]),
        ("tokens", ["fillfactor=80"]),
    ]
