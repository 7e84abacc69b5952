"""What follows a restore from a backup: nothing is believed that the backup cannot know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.refusal import SharedReason
from registry_service.commands import restored
from registry_service.commands.origin import Origin
from registry_service.commands.read_revocations import ReadRevocations, run
from registry_service.commands.restored import Restored
from registry_service.commands.validate_tokens import Rejection
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.liveness import RegistrationState
from registry_service.domain.relaunch import RelaunchReason
from registry_service.domain.tokens import RevokeReason
from tests.storage.registry_world import World, new_request_id, reason_of, world_at

RUN = Origin(actor="alice", method="registry-service restored", correlation_id="r-1")


@pytest.fixture
def world(registry_database: str) -> Iterator[World]:
    with world_at(registry_database) as world:
        yield world


def restore(world: World, *, api_tokens: bool = False, limit: int = 2) -> list[Any]:
    command = Restored(origin=RUN, api_tokens=api_tokens, limit=limit)
    return list(restored.run(world.store, command))


def why(world: World, workspace_id: Any) -> RelaunchReason | None:
    relaunch = world.registration(workspace_id).relaunch
    return relaunch.reason if relaunch else None


class TestABox:
    def test_is_out_whatever_it_holds_and_in_again_with_a_new_launch(self, world: World) -> None:
        workspace_id = world.workspace()
        ticket = world.ticket(workspace_id)
        box = world.box(workspace_id, ticket=ticket)
        assert world.registration(workspace_id).state is RegistrationState.ONLINE
        restore(world)
        assert world.validate(box) is Rejection.TOKEN_INVALID
        assert world.refused(workspace_id, bearer=box)[0] is AdmissionLine.COMPROMISED
        assert world.refused(workspace_id, ticket=ticket)[0] is AdmissionLine.TICKET_NEEDED
        stands = world.registration(workspace_id)
        assert (stands.state, stands.fences) == (RegistrationState.OFFLINE, ())
        assert why(world, workspace_id) is RelaunchReason.RESTORED
        new = world.launched(workspace_id)
        assert not isinstance(world.validate(new), Rejection)
        assert why(world, workspace_id) is None

    def test_whose_token_would_have_opened_again_is_out_too(self, world: World) -> None:
        workspace_id = world.workspace()
        box = world.launched(workspace_id)
        world.revoke_all(workspace_id, RevokeReason.OPERATOR)
        restore(world)
        assert world.refused(workspace_id, bearer=box)[0] is AdmissionLine.COMPROMISED

    def test_that_has_not_come_yet_is_out_too(self, world: World) -> None:
        workspace_id = world.workspace()
        ticket = world.ticket(workspace_id)
        restore(world)
        assert world.refused(workspace_id, ticket=ticket)[0] is AdmissionLine.TICKET_NEEDED
        assert why(world, workspace_id) is RelaunchReason.RESTORED


class TestALaunch:
    def test_skips_the_numbers_that_the_backup_may_not_know(self, world: World) -> None:
        workspace_id = world.workspace()
        world.launched(workspace_id)
        restore(world)
        assert world.begin(workspace_id).incarnation == 1 + 1 + 10_000
        assert world.begin(workspace_id).incarnation == 1 + 1 + 10_000 + 1

    def test_of_before_is_not_answered_again(self, world: World) -> None:
        workspace_id, used = world.workspace(), new_request_id()
        world.begin(workspace_id, request_id=used)
        restore(world)
        reason = reason_of(lambda: world.begin(workspace_id, request_id=used))
        assert reason is SharedReason.INCARNATION_FENCED

    def test_is_asked_for_where_there_was_one_and_it_is_wanted(self, world: World) -> None:
        never = world.workspace()
        external = world.workspace(evidence_required=True)
        registered = world.box(external, bearer=world.first_token(external))
        left, suspended = world.workspace(), world.workspace()
        world.deregister(left, world.launched(left))
        world.launched(suspended)
        world.revoke_all(suspended, RevokeReason.SUSPENDED)
        restore(world)
        for each in (never, external, left, suspended):
            assert why(world, each) is None
        assert world.validate(registered) is Rejection.TOKEN_INVALID


class TestAnApiToken:
    def test_ends_where_that_was_chosen(self, world: World) -> None:
        workspace_id = world.workspace()
        api = world.first_token(workspace_id)
        restore(world, api_tokens=True)
        assert world.validate(api) is Rejection.TOKEN_INVALID
        listed = world.token_of(workspace_id, api).token
        assert listed.revoke_reason is RevokeReason.COMPROMISED
        assert list(restored.live_api_tokens(world.store)) == []

    def test_lives_on_where_that_was_chosen_and_lets_its_agent_in(self, world: World) -> None:
        external = world.workspace(evidence_required=True)
        api = world.first_token(external, label="agent")
        world.box(external, bearer=api)
        restore(world)
        assert not isinstance(world.validate(api), Rejection)
        assert not isinstance(world.validate(world.box(external, bearer=api)), Rejection)

    def test_that_lives_is_listed_with_all_others(self, world: World) -> None:
        made = {}
        for label in ("ci", "agent", "cron"):
            workspace_id = world.workspace()
            made[world.mint(workspace_id, label=label).token.token_id] = (workspace_id, label)
        ended = world.workspace()
        world.revoke(ended, world.mint(ended).token.token_id)
        found = {
            held.token.token_id: (held.token.workspace_id, held.token.label)
            for held in restored.live_api_tokens(world.store)
        }
        assert found == made


def test_whoever_follows_the_feed_is_told_to_forget_everything(world: World) -> None:
    workspace_id = world.workspace()
    world.launched(workspace_id)
    world.begin(workspace_id)
    world.launched(workspace_id)
    before = run(world.store, ReadRevocations(after_revision=0))
    restore(world)
    leapt = run(world.store, ReadRevocations(after_revision=0)).revision - 1
    assert leapt >= before.revision + 1_000_000_000
    # One who saw more than the backup knows, too.
    for seen in (1, before.revision, before.revision + 500):
        found = run(world.store, ReadRevocations(after_revision=seen))
        assert found.reset
        assert found.revision == leapt + 1
    (event,) = run(world.store, ReadRevocations(after_revision=leapt)).events
    assert (event.workspace_id, event.reason) == (workspace_id, RevokeReason.COMPROMISED)


def test_a_second_restore_from_the_same_backup_is_told_to_whoever_followed_the_first(
    world: World,
) -> None:
    workspace_id = world.workspace()
    world.launched(workspace_id)
    ((backup,),) = world.sql("SELECT revision FROM registry.feed")
    restore(world)
    seen = run(world.store, ReadRevocations(after_revision=0)).revision
    world.sql("UPDATE registry.feed SET revision = %(r)s, swept_revision = 0", r=backup)
    world.sql("DELETE FROM registry.revocations")
    restore(world)
    # The second time as many tokens end as the first time, or more.
    for _ in range(3):
        world.revoke_all(workspace_id, RevokeReason.COMPROMISED)
    assert run(world.store, ReadRevocations(after_revision=seen)).reset


def test_a_clock_that_was_set_back_does_not_take_the_feed_back(world: World) -> None:
    world.sql("UPDATE registry.feed SET revision = %(r)s", r=4 * 10**15)
    restore(world)
    found = run(world.store, ReadRevocations(after_revision=4 * 10**15))
    assert (found.reset, found.revision) == (True, 4 * 10**15 + 1_000_000_000)


def test_a_run_that_was_interrupted_is_finished_by_the_next_one(world: World) -> None:
    boxes = [world.launched(world.workspace()) for _ in range(3)]
    first = restored.run(world.store, Restored(origin=RUN, api_tokens=False, limit=1))
    next(first)
    first.close()  # type: ignore[attr-defined]
    assert sum(not isinstance(world.validate(box), Rejection) for box in boxes) == 2
    assert [done.tokens for done in restore(world, limit=1)] == [0, 3, 6]
    assert all(isinstance(world.validate(box), Rejection) for box in boxes)


def test_the_first_of_all_ids_is_no_exception(world: World) -> None:
    workspace_id = WorkspaceId("00000000-0000-0000-0000-000000000000")
    world.admit(workspace_id)
    box, api = world.launched(workspace_id), world.first_token(workspace_id)
    assert len(list(restored.live_api_tokens(world.store))) == 1
    restore(world, api_tokens=True)
    assert {world.validate(each) for each in (box, api)} == {Rejection.TOKEN_INVALID}


def test_who_did_it_stands_in_the_audit_beside_all_that_ended(world: World) -> None:
    workspace_id = world.workspace()
    world.launched(workspace_id)
    restore(world, api_tokens=True)
    rows = world.sql(
        "SELECT action, subject <> '', details->>'reason' FROM registry.audit_events"
        " WHERE actor = 'alice' AND method = 'registry-service restored'"
        " AND correlation_id = 'r-1' ORDER BY time, action"
    )
    assert rows == [
        ("registry.restore_begun", False, None),
        # Its instance token, its proxy token and its ticket.
        *[("token.revoked", True, "COMPROMISED")] * 3,
        ("workspace.restored", False, None),
        ("registry.restored", False, None),
    ]


def test_the_survey_counts_and_changes_nothing(world: World) -> None:
    workspace_id = world.workspace()
    world.first_token(workspace_id)
    world.launched(workspace_id)
    before = world.rows()
    found = restored.survey(world.store)
    assert (found.workspaces, found.instance_tokens, found.tickets, found.api_tokens) == (
        1,
        1,
        1,
        1,
    )
    assert found.last_record is not None
    assert not found.serving
    assert world.rows() == before


class TestAnAdmission:
    def test_lets_the_registry_count_on_where_its_launcher_remembers_more(
        self, world: World
    ) -> None:
        workspace_id = world.workspace()
        box = world.launched(workspace_id)
        world.admit(workspace_id, remembered_incarnation=1)
        assert why(world, workspace_id) is None
        assert not isinstance(world.validate(box), Rejection)
        world.admit(workspace_id, remembered_incarnation=7)
        # A later one, unknown here, had replaced it.
        assert world.validate(box) is Rejection.TOKEN_INVALID
        assert world.registration(workspace_id).incarnation == 7
        assert why(world, workspace_id) is RelaunchReason.RESTORED
        assert world.begin(workspace_id).incarnation > 7

    def test_remembers_more_than_a_box_that_left_and_a_fence_that_was_lifted(
        self, world: World
    ) -> None:
        left, suspended = world.workspace(), world.workspace()
        world.deregister(left, world.launched(left))
        world.launched(suspended)
        world.revoke_all(suspended, RevokeReason.SUSPENDED)
        for each in (left, suspended):
            assert why(world, each) is None
            world.admit(each, remembered_incarnation=2)
            assert why(world, each) is RelaunchReason.RESTORED
        world.admit(suspended, remembered_incarnation=3, suspended=True)
        assert why(world, suspended) is None
        assert reason_of(lambda: world.begin(suspended)) is SharedReason.WORKSPACE_SUSPENDED

    def test_of_an_unknown_one_that_was_launched_asks_for_a_launch(self, world: World) -> None:
        workspace_id = world.workspace()
        world.admit(workspace_id, remembered_incarnation=3)
        assert why(world, workspace_id) is RelaunchReason.RESTORED
        # Neither an id nor an api token opens what was launched before.
        assert world.refused(workspace_id)[0] is AdmissionLine.TICKET_NEEDED

    def test_brings_a_suspension_back_unless_a_launch_came_after_it(self, world: World) -> None:
        workspace_id = world.workspace()
        box = world.launched(workspace_id)
        world.begin(workspace_id)
        world.admit(workspace_id, remembered_incarnation=1, suspended=True)
        assert not world.registration(workspace_id).fences
        box = world.launched(workspace_id)
        world.admit(workspace_id, remembered_incarnation=3, suspended=True)
        assert world.validate(box) is Rejection.TOKEN_INVALID
        reason = reason_of(lambda: world.begin(workspace_id))
        assert reason is SharedReason.WORKSPACE_SUSPENDED

    def test_with_a_number_far_away_is_a_mistake(self, world: World) -> None:
        workspace_id = world.workspace()
        reason = reason_of(lambda: world.admit(workspace_id, remembered_incarnation=1_000_001))
        assert reason is SharedReason.INVALID_REQUEST
