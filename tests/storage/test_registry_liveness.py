"""Heartbeats, silence, uptime and the lists that show them, by the database's clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from agentworkspace.core.ids import TenantId, WorkspaceId, uuids_beginning_with
from agentworkspace.core.refusal import Recovery, Refusal, SharedReason
from agentworkspace.core.secret import Secret
from registry_service.commands import heartbeats, list_registrations, update_card
from registry_service.commands.heartbeats import Heartbeat, Heartbeaten
from registry_service.commands.list_registrations import ListRegistrations
from registry_service.commands.update_card import UpdateCard
from registry_service.commands.views import RegisterFailure
from registry_service.domain.admission import NextAction
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.liveness import RegistrationState
from registry_service.domain.refusals import Reason
from registry_service.domain.relaunch import Relaunch, RelaunchReason
from registry_service.domain.standing import BootstrapPolicy
from registry_service.domain.tokens import RevokeReason, TokenKind
from registry_service.workers import (
    flush_last_uses,
    flush_rejected_registers,
    write_pulse,
)
from registry_service.workers.flush_rejected_registers import RefusedRegisters
from tests.storage.registry_world import (
    CONFINED,
    OPERATOR,
    ORIGIN,
    World,
    new_secret,
    new_workspace_id,
    reason_of,
    sha256,
    sweep_offline,
    world_at,
)


@pytest.fixture
def world(registry_database: str) -> Iterator[World]:
    with world_at(registry_database) as world:
        yield world


def up_for(world: World, span: timedelta) -> None:
    """As if the registry had been up for so long, without a gap."""
    write_pulse.run(world.store)
    world.sql(
        "UPDATE registry.pulse SET up_since = clock_timestamp() - %(span)s, "
        "last_time = clock_timestamp()",
        span=span,
    )


def silent_for(world: World, workspace_id: WorkspaceId, span: timedelta) -> None:
    world.sql(
        "UPDATE registry.registrations SET last_heartbeat_time = clock_timestamp() - %(span)s"
        " WHERE workspace_id = %(id)s",
        span=span,
        id=workspace_id,
    )


def listed(world: World, **fields: object) -> list[WorkspaceId]:
    command = ListRegistrations(**({"caller": OPERATOR} | fields))  # type: ignore[arg-type]
    page = list_registrations.run(world.store, command)
    return [item.workspace_id for item in page.rows]


def test_workspaces_are_found_by_the_beginning_of_their_ids(world: World) -> None:
    one, two = world.workspace(), world.workspace()

    assert listed(world, id_range=uuids_beginning_with(one[:13])) == [one]
    assert listed(world, id_range=uuids_beginning_with(two)) == [two]
    assert listed(world, id_range=uuids_beginning_with(one[:13]), changed_after=0) == [one]


DAY = timedelta(days=1)


# Heartbeat


def test_a_heartbeat_reports_and_is_told_to_go_on(world: World) -> None:
    workspace_id = world.workspace()
    token = world.box(workspace_id, ticket=world.ticket(workspace_id))
    answer = world.heartbeat(workspace_id, token, active_tasks=3, sample_error="x", degraded=True)
    assert isinstance(answer, Heartbeaten)
    assert (answer.next_action, answer.incarnation) == (NextAction.NONE, 1)
    seen = world.registration(workspace_id)
    assert (seen.state, seen.active_tasks, seen.sample_error, seen.healthy_incarnation) == (
        RegistrationState.DEGRADED,
        3,
        "x",
        0,
    )
    world.heartbeat(workspace_id, token)
    seen = world.registration(workspace_id)
    assert (seen.state, seen.healthy_incarnation) == (RegistrationState.ONLINE, 1)


def test_a_heartbeat_is_told_the_workspaces_incarnation_and_not_the_tokens(world: World) -> None:
    workspace_id = world.workspace()
    token = world.box(workspace_id)
    world.heartbeat(workspace_id, token)
    world.sql(
        "UPDATE registry.workspaces SET incarnation = 5 WHERE workspace_id = %(id)s",
        id=workspace_id,
    )
    answer = world.heartbeat(workspace_id, token)
    assert isinstance(answer, Heartbeaten)
    assert (answer.next_action, answer.incarnation) == (NextAction.NONE, 5)


def test_an_own_dead_token_is_told_what_to_do_and_changes_nothing(world: World) -> None:
    workspace_id = world.workspace()
    token = world.box(workspace_id)
    world.revoke(workspace_id, world.token_of(workspace_id, token).token.token_id)
    before = world.registration(workspace_id)
    answer = world.heartbeat(workspace_id, token, active_tasks=9)
    assert isinstance(answer, Heartbeaten)
    assert (answer.next_action, answer.token_id) == (NextAction.REGISTER, None)
    assert world.registration(workspace_id) == before


def test_a_replaced_box_is_told_to_stop_once_the_new_one_registered(world: World) -> None:
    workspace_id = world.workspace()
    old = world.box(workspace_id, ticket=world.ticket(workspace_id))
    ticket = world.ticket(workspace_id)
    answer = world.heartbeat(workspace_id, old)
    assert isinstance(answer, Heartbeaten)
    assert answer.next_action is NextAction.REGISTER
    world.box(workspace_id, ticket=ticket)
    answer = world.heartbeat(workspace_id, old)
    assert isinstance(answer, Heartbeaten)
    assert (answer.next_action, answer.incarnation) == (NextAction.STOP, 2)


def test_a_heartbeat_without_recognised_evidence_is_refused(world: World) -> None:
    workspace_id = world.workspace()
    api = world.first_token(workspace_id)
    foreign = world.box(world.workspace())
    reasons = [
        getattr(world.heartbeat(workspace_id, bearer), "reason", None)
        for bearer in (None, Secret("stranger"), Secret("awi_junk"), api, foreign)
    ]
    assert reasons == [Reason.BEARER_MISSING, *[SharedReason.BEARER_REJECTED] * 4]
    unknown = world.heartbeat(new_workspace_id(), None)
    assert isinstance(unknown, Refusal)
    assert unknown.reason is SharedReason.WORKSPACE_UNKNOWN
    assert world.registration(workspace_id).state is RegistrationState.PENDING


def test_many_heartbeats_are_answered_in_order_also_two_of_one_box(world: World) -> None:
    first, second = world.workspace(), world.workspace()
    one, two = world.box(first), world.box(second)

    def beat(workspace_id: WorkspaceId, bearer: Secret, tasks: int) -> Heartbeat:
        policy = BootstrapPolicy.ADAPTIVE
        return Heartbeat(
            workspace_id=workspace_id, bearer=bearer, policy=policy, active_tasks=tasks
        )

    answers = heartbeats.run(
        world.store,
        [beat(first, one, 1), beat(second, one, 5), beat(first, one, 2), beat(second, two, 3)],
    )
    kinds = [getattr(answer, "next_action", getattr(answer, "reason", None)) for answer in answers]
    assert kinds == [
        NextAction.NONE,
        SharedReason.BEARER_REJECTED,
        NextAction.NONE,
        NextAction.NONE,
    ]
    assert world.registration(first).active_tasks == 2
    assert world.registration(second).active_tasks == 3


def test_a_heartbeat_is_the_first_use_that_ends_the_predecessor(world: World) -> None:
    workspace_id = world.workspace()
    old, new = world.box(workspace_id), new_secret(TokenKind.INSTANCE)
    world.register(workspace_id, bearer=old, token_sha256=sha256(new))
    answer = world.heartbeat(workspace_id, new)
    assert isinstance(answer, Heartbeaten)
    assert world.token_of(workspace_id, old).token.revoke_reason is RevokeReason.ROTATED


def test_a_heartbeat_does_not_wait_for_decisions_about_its_workspace(world: World) -> None:
    first, second = world.workspace(), world.workspace()
    one, two = world.box(first), world.box(second)
    world.heartbeat(first, one)
    world.heartbeat(second, two)
    with world.store.transaction() as connection:
        connection.exec_driver_sql(
            "SELECT 1 FROM registry.workspaces WHERE workspace_id = %(id)s FOR UPDATE",
            {"id": first},
        )
        answer = world.heartbeat(first, one)
        assert isinstance(answer, Heartbeaten)
    answer = world.heartbeat(second, two)
    assert isinstance(answer, Heartbeaten)


# UpdateCard and Deregister


def test_a_live_box_replaces_its_card_and_nobody_else_does(world: World) -> None:
    workspace_id = world.workspace()
    token = world.box(workspace_id, url="http://a", agent_card={"v": 1})

    def update(bearer: Secret | None, target: WorkspaceId = workspace_id) -> None:
        command = UpdateCard(origin=ORIGIN, workspace_id=target, bearer=bearer, agent_card={"v": 2})
        update_card.run(world.store, command)

    update(token)
    seen = world.registration(workspace_id)
    assert (seen.url, seen.agent_card) == ("http://a", {"v": 2})
    assert reason_of(lambda: update(None)) is Reason.BEARER_MISSING
    assert reason_of(lambda: update(token, new_workspace_id())) is SharedReason.WORKSPACE_UNKNOWN
    with pytest.raises(Refusal) as caught:
        update(world.first_token(workspace_id))
    assert (caught.value.reason, caught.value.recovery) == (
        SharedReason.BEARER_REJECTED,
        Recovery.REGISTER,
    )


def test_a_box_that_left_is_offline_with_an_excuse_and_may_come_back(world: World) -> None:
    up_for(world, DAY)
    workspace_id = world.workspace()
    ticket = world.ticket(workspace_id)
    token = world.box(workspace_id, ticket=ticket)
    world.deregister(workspace_id, token)
    silent_for(world, workspace_id, DAY)
    seen = world.registration(workspace_id)
    assert (seen.state, seen.left, seen.relaunch) == (RegistrationState.OFFLINE, True, None)
    assert world.live_instances(workspace_id) == []
    assert reason_of(lambda: world.deregister(workspace_id, token)) is SharedReason.BEARER_REJECTED
    ended = world.token_of(workspace_id, token).token.revoke_reason
    assert ended is RevokeReason.DEREGISTERED
    assert world.refused(workspace_id, bearer=token)[0] is AdmissionLine.TICKET_NEEDED
    assert world.register(workspace_id, ticket=ticket).line == AdmissionLine.TICKET_REDEEMED
    assert not world.registration(workspace_id).left


def test_an_older_box_that_leaves_does_not_leave_for_the_newest(world: World) -> None:
    workspace_id = world.workspace()
    old = world.launched(workspace_id)
    world.begin(workspace_id)
    world.expire(workspace_id, TokenKind.TICKET)
    back = world.box(workspace_id, bearer=old)
    world.deregister(workspace_id, back)
    seen = world.registration(workspace_id)
    assert (seen.state, seen.left) == (RegistrationState.OFFLINE, False)
    ended = world.token_of(workspace_id, back).token.revoke_reason
    assert ended is RevokeReason.DEREGISTERED


def test_a_launch_forgets_that_the_box_before_it_had_left(world: World) -> None:
    up_for(world, DAY)
    workspace_id = world.workspace()
    world.deregister(workspace_id, world.launched(workspace_id))
    world.begin(workspace_id)
    seen = world.registration(workspace_id)
    assert (seen.left, seen.relaunch) == (False, None)
    world.expire(workspace_id, TokenKind.TICKET)
    relaunch = world.registration(workspace_id).relaunch
    assert relaunch is not None
    assert relaunch.reason is RelaunchReason.TICKET_UNUSED


def test_a_box_that_leaves_takes_the_token_it_was_rotating_into_along(world: World) -> None:
    workspace_id = world.workspace()
    token, pending = world.box(workspace_id), new_secret(TokenKind.INSTANCE)
    world.register(workspace_id, bearer=token, token_sha256=sha256(pending))
    world.deregister(workspace_id, token)
    assert world.live_instances(workspace_id) == []


# OFFLINE


def test_a_death_is_announced_once_and_the_next_one_again(world: World) -> None:
    up_for(world, DAY)
    workspace_id, well = world.workspace(), world.workspace()
    token = world.box(workspace_id)
    world.box(well)
    for _ in range(2):
        silent_for(world, workspace_id, timedelta(seconds=91))
        assert world.registration(workspace_id).state is RegistrationState.OFFLINE
        (gone,) = sweep_offline(world.store)
        assert (gone.workspace_id, gone.tenant_id) == (workspace_id, "acme")
        assert sweep_offline(world.store) == ()
        world.heartbeat(workspace_id, token)
        assert world.registration(workspace_id).state is RegistrationState.ONLINE


def test_nobody_is_offline_for_time_in_which_the_registry_was_away(world: World) -> None:
    workspace_id = world.workspace()
    world.box(workspace_id)
    silent_for(world, workspace_id, DAY)
    assert sweep_offline(world.store) == ()
    up_for(world, timedelta(seconds=89))
    assert sweep_offline(world.store) == ()
    assert world.registration(workspace_id).state is RegistrationState.ONLINE
    up_for(world, timedelta(seconds=91))
    assert len(sweep_offline(world.store)) == 1


def test_a_gap_in_the_pulse_starts_the_grace_anew(world: World) -> None:
    first = write_pulse.run(world.store)
    second = write_pulse.run(world.store)
    assert (first.after_gap, second.after_gap) == (True, False)
    assert second.up_since == first.up_since
    world.sql("UPDATE registry.pulse SET last_time = last_time - interval '7 seconds'")
    third = write_pulse.run(world.store)
    assert third.after_gap
    assert third.up_since > first.up_since


def test_no_relaunch_is_asked_for_while_nobody_wrote_the_pulse(world: World) -> None:
    workspace_id = world.workspace()
    world.box(workspace_id)
    up_for(world, DAY)
    silent_for(world, workspace_id, timedelta(seconds=181))
    assert listed(world, needs_relaunch=True) == [workspace_id]
    seen = world.registration(workspace_id)
    assert seen.last_heartbeat_time is not None
    assert seen.relaunch == Relaunch(RelaunchReason.SILENT, seen.last_heartbeat_time)
    world.sql("UPDATE registry.pulse SET last_time = last_time - interval '7 seconds'")
    assert listed(world, needs_relaunch=True) == []


# Lists


def test_registrations_are_filtered_by_what_is_true_now(world: World) -> None:
    up_for(world, DAY)
    pending, online, silent, left = (world.workspace() for _ in range(4))
    world.box(online)
    world.box(silent)
    world.deregister(left, world.box(left))
    silent_for(world, silent, timedelta(hours=1))
    assert listed(world, state=RegistrationState.PENDING) == [pending]
    assert listed(world, state=RegistrationState.ONLINE) == [online]
    assert listed(world, state=RegistrationState.OFFLINE) == [left, silent]
    assert listed(world, needs_relaunch=True) == [silent]
    assert listed(world) == [left, silent, online, pending]


def test_registrations_are_paged_and_kept_to_the_callers_tenants(world: World) -> None:
    mine = [world.workspace() for _ in range(5)]
    globex = TenantId("globex")
    theirs = new_workspace_id()
    world.admit(theirs, tenant_id=globex)
    assert listed(world, caller=CONFINED) == [theirs]
    assert listed(world, tenant_id=globex) == [theirs]
    acme = TenantId("acme")
    reason = reason_of(lambda: listed(world, caller=CONFINED, tenant_id=acme))
    assert reason is SharedReason.TENANT_FORBIDDEN
    seen: list[WorkspaceId] = []
    page_token = ""
    for _ in range(3):
        page = list_registrations.run(
            world.store,
            ListRegistrations(caller=OPERATOR, tenant_id=acme, page_size=2, page_token=page_token),
        )
        seen += [item.workspace_id for item in page.rows]
        page_token = page.next_page_token
    assert (seen, page_token) == (mine[::-1], "")


def test_registrations_of_named_workspaces_and_of_no_other_are_listed(world: World) -> None:
    first, _, third = (world.workspace() for _ in range(3))
    globex = new_workspace_id()
    world.admit(globex, tenant_id=TenantId("globex"))
    unknown = new_workspace_id()
    named = (first, unknown, globex, third)
    assert listed(world, workspace_ids=named) == [globex, third, first]
    assert listed(world, workspace_ids=named, caller=CONFINED) == [globex]
    assert listed(world, workspace_ids=(unknown,)) == []


def test_a_page_token_of_another_list_is_refused(world: World) -> None:
    for _ in range(3):
        world.workspace()
    page = list_registrations.run(world.store, ListRegistrations(caller=OPERATOR, page_size=1))
    wanted = {"page_token": page.next_page_token, "needs_relaunch": True}
    assert reason_of(lambda: listed(world, **wanted)) is SharedReason.INVALID_REQUEST
    named = {"page_token": page.next_page_token, "workspace_ids": (new_workspace_id(),)}
    assert reason_of(lambda: listed(world, **named)) is SharedReason.INVALID_REQUEST


# Written behind


def test_refused_registers_are_counted_until_the_next_admission(world: World) -> None:
    workspace_id = world.workspace()
    token = world.box(workspace_id)
    now = world.sql("SELECT clock_timestamp()")[0][0]
    failure = RegisterFailure(reason=Reason.TICKET_EXPIRED, time=now, incarnation=0)
    refused = RefusedRegisters(
        workspace_id=workspace_id,
        count=3,
        last_time=now,
        last_reason=Reason.BEARER_MISSING,
        failure=failure,
    )
    for _ in range(2):
        assert flush_rejected_registers.run(world.store, [refused]) == frozenset()
    seen = world.registration(workspace_id)
    assert (seen.rejected_registers.count, seen.rejected_registers.last_reason) == (
        6,
        Reason.BEARER_MISSING,
    )
    assert seen.last_register_failure == failure
    world.register(workspace_id, bearer=token)
    flush_rejected_registers.run(world.store, [refused])
    seen = world.registration(workspace_id)
    assert seen.rejected_registers.count == 0
    assert seen.last_register_failure == failure


def test_later_uses_are_written_behind_and_a_busy_token_waits_for_nobody(world: World) -> None:
    workspace_id = world.workspace()
    token = world.box(workspace_id)
    world.heartbeat(workspace_id, token)
    token_id = world.token_of(workspace_id, token).token.token_id
    later = world.sql("SELECT clock_timestamp() + interval '1 minute'")[0][0]
    with world.store.transaction() as connection:
        connection.exec_driver_sql(
            "SELECT 1 FROM registry.tokens WHERE token_id = %(id)s FOR UPDATE", {"id": token_id}
        )
        assert flush_last_uses.run(world.store, {token_id: later}) == {token_id}
    assert flush_last_uses.run(world.store, {token_id: later}) == frozenset()
    assert world.token_of(workspace_id, token).token.last_use_time == later
