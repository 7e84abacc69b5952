"""From delivered to proven, and back: what the registry saw, and who is to be launched again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from provision_service.commands import get_provision, list_workspaces, remove_workspace
from provision_service.commands.get_provision import GetProvision
from provision_service.commands.list_workspaces import ListWorkspaces
from provision_service.commands.remove_workspace import RemoveWorkspace
from provision_service.domain.lifecycle import (
    NeedsLaunchReason,
    ProvisionOutcome,
    ProvisionReason,
    ProvisionState,
    WorkspaceStatus,
)
from provision_service.domain.records import Provision, Workspace
from provision_service.domain.refusals import Reason
from provision_service.domain.registry_port import (
    RegisterFailure,
    RegistrationState,
    RegistryUnavailable,
    RelaunchReason,
)
from provision_service.workers import drain_outbox, lapse, observe_launches, reconcile
from provision_service.workers.drain_outbox import DrainOutbox
from provision_service.workers.lapse import Lapse
from provision_service.workers.observe_launches import ObserveLaunches
from provision_service.workers.reconcile import ReconcileResult
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import (
    LAUNCHER,
    OPUS,
    UNSPECIFIED,
    World,
    refused,
)


def get(world: World, provision: Provision) -> Provision:
    command = GetProvision(call=LAUNCHER, provision_id=provision.id)
    return get_provision.run(world.store, command, world.deployment, world.registry)


def stored(world: World, workspace: Workspace) -> Workspace:
    """As it is stored: the registry is not asked."""
    down, world.registry.down = world.registry.down, True
    try:
        return world.read(workspace)
    finally:
        world.registry.down = down


def observe(world: World) -> int:
    """How much moved in one look at all that the registry knows."""
    changed, token = 0, ""
    while True:
        command = ObserveLaunches(page_token=token)
        step = observe_launches.run(world.store, command, world.deployment, world.registry)
        changed += step.changed
        token = step.next_page_token
        if not token:
            return changed


def reconciled(world: World) -> ReconcileResult:
    return reconcile.run(world.store, world.deployment, world.registry)


def running(world: World) -> Workspace:
    """A workspace whose box is up and healthy."""
    workspace = world.create()
    launched = world.launch(workspace)
    world.complete(launched.provision)
    world.registry.sees(workspace, incarnation=launched.provision.incarnation)
    return world.read(workspace)


def silence(world: World, workspace: Workspace, **more: object) -> None:
    since = datetime.now(UTC) - timedelta(minutes=4)
    world.registry.sees(
        workspace,
        incarnation=world.registry.incarnations.get(workspace.id, 0),
        state=RegistrationState.OFFLINE,
        relaunch=RelaunchReason.SILENT,
        relaunch_since=since,
        **more,
    )


class Crash(Exception):
    """The process ends here."""


def crash(call: str) -> None:
    if call == "begin_incarnation":
        raise Crash


def wanted(world: World) -> list[str]:
    command = ListWorkspaces(call=LAUNCHER, needs_launch=True)
    return [each.id for each in list_workspaces.run(world.store, command).rows]


def test_a_launch_climbs_from_delivered_to_proven(world: World) -> None:
    workspace = world.create()
    launched = world.launch(workspace)
    assert get(world, launched.provision).state is ProvisionState.ENV_DELIVERED
    assert world.complete(launched.provision).state is ProvisionState.LAUNCHED
    assert stored(world, workspace).status is WorkspaceStatus.PROVISIONING
    world.registry.sees(workspace, incarnation=1, healthy_incarnation=0)
    registered = get(world, launched.provision)
    assert registered.state is ProvisionState.REGISTERED
    assert registered.register_time is not None
    assert stored(world, workspace).status is WorkspaceStatus.RUNNING
    world.registry.sees(workspace, incarnation=1)
    proven = get(world, launched.provision)
    assert proven.state is ProvisionState.PROVEN
    assert proven.prove_time is not None


def test_what_was_delivered_is_never_shown_as_running(world: World) -> None:
    workspace = running(world)
    launched = world.launch(workspace)
    world.registry.sees(workspace, incarnation=1)
    assert world.read(workspace).status is WorkspaceStatus.PROVISIONING
    assert get(world, launched.provision).state is ProvisionState.ENV_DELIVERED
    observe(world)
    assert stored(world, workspace).status is WorkspaceStatus.PROVISIONING


def test_a_box_that_registers_before_its_launcher_reports_is_fine(world: World) -> None:
    workspace = world.create()
    launched = world.launch(workspace)
    world.registry.sees(workspace, incarnation=1)
    assert get(world, launched.provision).state is ProvisionState.PROVEN
    world.set_own(workspace, "A", "1")
    done = world.complete(launched.provision)
    assert (done.state, done.outcome) == (ProvisionState.PROVEN, ProvisionOutcome.SUCCEEDED)
    assert done.rerun_required


def test_the_observer_sees_what_nobody_asks_for(world: World) -> None:
    workspace = world.create()
    launched = world.launch(workspace)
    world.registry.sees(workspace, incarnation=1)
    assert observe(world) == 1
    now = stored(world, workspace)
    assert now.status is WorkspaceStatus.RUNNING
    for state, status in (
        (RegistrationState.DEGRADED, WorkspaceStatus.DEGRADED),
        (RegistrationState.OFFLINE, WorkspaceStatus.OFFLINE),
        (RegistrationState.ONLINE, WorkspaceStatus.RUNNING),
    ):
        world.registry.sees(workspace, incarnation=1, state=state)
        observe(world)
        assert stored(world, workspace).status is status
    assert observe(world) == 0
    assert get(world, launched.provision).state is ProvisionState.PROVEN


def test_the_observer_locks_nothing_that_has_no_news(world: World) -> None:
    waiting, proven = world.create(), running(world)
    world.launch(waiting)
    world.registry.sees(waiting, incarnation=0, state=RegistrationState.PENDING)
    observe(world)
    # A lock, too, would leave its mark in xmax.
    marks = "SELECT xmin::text, xmax::text FROM provision.workspaces ORDER BY workspace_id"
    before = world.sql(marks)
    assert observe(world) == 0
    assert world.sql(marks) == before
    world.registry.sees(waiting, incarnation=1)
    assert observe(world) == 1
    assert stored(world, waiting).status is WorkspaceStatus.RUNNING
    assert stored(world, proven).status is WorkspaceStatus.RUNNING


def test_an_agent_without_a_launch_runs_when_it_registers(world: World) -> None:
    workspace = world.create(replace(UNSPECIFIED, name="x", runtime="external"), secrets={})
    world.registry.sees(workspace, incarnation=0)
    observe(world)
    assert stored(world, workspace).status is WorkspaceStatus.RUNNING


def test_a_registry_that_is_away_changes_nothing(world: World) -> None:
    workspace = world.create()
    world.launch(workspace)
    world.registry.down = True
    assert world.read(workspace).status is WorkspaceStatus.PROVISIONING
    with pytest.raises(RegistryUnavailable):
        observe(world)
    with pytest.raises(RegistryUnavailable):
        reconciled(world)


def test_an_error_goes_when_a_newer_incarnation_registered_and_not_before(world: World) -> None:
    workspace = running(world)
    world.sql("DELETE FROM provision.secrets")
    with refused(Reason.MISSING_BYOK_CREDENTIAL):
        world.launch(workspace)
    world.registry.sees(workspace, incarnation=1)
    observe(world)
    error = stored(world, workspace).last_error
    assert error is not None
    assert error.incarnation == 1
    world.set_own(workspace, "CLAUDE_CODE_OAUTH_TOKEN", "sk-new")
    launched = world.launch(workspace)
    assert stored(world, workspace).last_error == error
    world.registry.sees(workspace, incarnation=launched.provision.incarnation)
    assert world.read(workspace).last_error is None


def test_a_silent_box_is_marked_with_what_failed_and_a_launch_answers_it(world: World) -> None:
    workspace = running(world)
    failed_at = datetime.now(UTC) - timedelta(minutes=1)
    failure = RegisterFailure(reason="BEARER_REJECTED", time=failed_at, incarnation=1)
    silence(world, workspace, last_register_failure=failure)
    assert reconciled(world).marked == (workspace.id,)
    now = stored(world, workspace)
    assert now.needs_launch is not None
    assert now.needs_launch.reason is NeedsLaunchReason.SILENT
    assert now.last_error is not None
    assert now.last_error.code == "ERROR_REASON_BEARER_REJECTED"
    assert now.last_error.time == failed_at
    assert now.last_error.incarnation == 1
    assert wanted(world) == [workspace.id]
    assert reconciled(world).marked == ()
    launched = world.launch(workspace, reason=ProvisionReason.AUTO_RESTART)
    assert launched.env is not None
    assert wanted(world) == []
    assert stored(world, workspace).last_error == now.last_error, "a heartbeat does not erase it"


def test_an_older_failure_does_not_replace_a_newer_error(world: World) -> None:
    workspace = running(world)
    world.sql("DELETE FROM provision.secrets")
    with refused(Reason.MISSING_BYOK_CREDENTIAL):
        world.launch(workspace)
    old = datetime.now(UTC) - timedelta(hours=1)
    failure = RegisterFailure(reason="TICKET_EXPIRED", time=old, incarnation=1)
    silence(world, workspace, last_register_failure=failure)
    reconciled(world)
    error = stored(world, workspace).last_error
    assert error is not None
    assert error.code == "ERROR_REASON_MISSING_BYOK_CREDENTIAL"


def test_a_box_that_came_back_by_itself_is_not_wanted_any_more(world: World) -> None:
    workspace = running(world)
    silence(world, workspace)
    reconciled(world)
    world.registry.sees(workspace, incarnation=1)
    observe(world)
    assert wanted(world) == []


def test_nobody_is_marked_who_left_is_gone_or_is_being_launched(world: World) -> None:
    removed, busy, older, unknown = (running(world) for _ in range(4))
    for each in (removed, busy, older):
        silence(world, each)
    world.registry.sees(
        replace(unknown, id=new_id()), incarnation=0, relaunch=RelaunchReason.SILENT
    )
    external = world.create(replace(UNSPECIFIED, name="x", runtime="external"), secrets={})
    silence(world, external)
    command = RemoveWorkspace(call=LAUNCHER, workspace_id=removed.id)
    remove_workspace.run(world.store, command, world.deployment, world.registry)
    world.launch(busy)
    world.complete(world.launch(older).provision)
    assert reconciled(world) == ReconcileResult()


def test_no_more_than_a_twentieth_is_marked_within_a_minute_and_it_says_so(world: World) -> None:
    workspaces = [running(world) for _ in range(5)]
    for each in workspaces:
        silence(world, each)
    first = reconciled(world)
    assert len(first.marked) == 1
    assert first.paused.startswith("4 more workspaces need a launch")
    second = reconciled(world)
    assert second.marked == ()
    assert second.paused.startswith("4 more workspaces need a launch")
    assert world.sql("SELECT paused_reason FROM provision.reconciler") == [(second.paused,)]
    let_seconds_pass(world, 61)
    assert len(reconciled(world).marked) == 1
    assert len(wanted(world)) == 2


def let_seconds_pass(world: World, seconds: int) -> None:
    """For the reconciler: what it marked lies that much further back."""
    world.sql(
        "UPDATE provision.reconciler SET marks = coalesce((SELECT jsonb_agg(jsonb_build_array("
        "(one->>0)::float - :s, (one->>1)::int)) FROM jsonb_array_elements(marks) AS one), '[]')",
        s=seconds,
    )


def test_no_minute_has_more_than_its_share_wherever_it_begins(world: World) -> None:
    """A minute on the clock would let a whole share pass on either side of its end."""
    workspaces = [running(world) for _ in range(5)]
    assert reconciled(world).marked == ()
    let_seconds_pass(world, 59)
    for each in workspaces:
        silence(world, each)
    marks = []
    for _ in range(8):
        marks.append(len(reconciled(world).marked))
        let_seconds_pass(world, 10)
    assert marks == [1, 0, 0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (RelaunchReason.SILENT, NeedsLaunchReason.SILENT),
        (RelaunchReason.TICKET_UNUSED, NeedsLaunchReason.LAPSED),
        (RelaunchReason.NEWEST_REFUSED, NeedsLaunchReason.NEWEST_REFUSED),
        (RelaunchReason.RESTORED, NeedsLaunchReason.RESTORED),
    ],
)
def test_the_mark_says_why_the_registry_wants_a_launch(
    world: World, reason: RelaunchReason, shown: NeedsLaunchReason
) -> None:
    workspace = running(world)
    since = datetime.now(UTC) - timedelta(minutes=9)
    world.registry.sees(workspace, incarnation=1, relaunch=reason, relaunch_since=since)
    assert reconciled(world).marked == (workspace.id,)
    mark = stored(world, workspace).needs_launch
    assert mark is not None
    assert (mark.reason, mark.since) == (shown, since)


@pytest.mark.parametrize(
    "excuse",
    [{"suspended": True}, {"relaunch": None}, {"state": RegistrationState.REMOVED}],
    ids=["suspended", "came back", "retired"],
)
def test_the_mark_goes_when_the_reason_is_gone(world: World, excuse: dict[str, Any]) -> None:
    workspace = running(world)
    silence(world, workspace)
    assert reconciled(world).marked == (workspace.id,)
    gone = {"state": RegistrationState.OFFLINE, "relaunch": None, **excuse}
    world.registry.sees(workspace, incarnation=1, **gone)
    assert reconciled(world).unmarked == (workspace.id,)
    assert wanted(world) == []
    assert reconciled(world) == ReconcileResult()


def test_a_mark_stays_while_the_registry_says_nothing_of_the_workspace(world: World) -> None:
    workspace = running(world)
    silence(world, workspace)
    reconciled(world)
    world.registry.registrations.clear()
    assert reconciled(world).unmarked == ()
    assert wanted(world) == [workspace.id]


def test_a_launch_whose_answer_was_lost_is_marked_when_its_ticket_ran_out(world: World) -> None:
    """The registry counts it, and nobody here ever got its environment."""
    workspace = world.create()
    world.registry.after = crash
    with pytest.raises(Crash):
        world.launch(workspace)
    world.registry.after = lambda _call: None
    world.let_leases_run_out()
    lapse.run(world.store, Lapse())
    world.registry.sees(
        workspace,
        incarnation=0,
        state=RegistrationState.PENDING,
        ticket_unused=True,
        relaunch=RelaunchReason.TICKET_UNUSED,
    )
    assert stored(world, workspace).incarnation == 0
    assert reconciled(world).marked == (workspace.id,)


def test_a_suspended_workspace_is_shown_so_and_never_marked(world: World) -> None:
    workspace = running(world)
    silence(world, workspace)
    reconciled(world)
    world.registry.sees(
        workspace, incarnation=1, state=RegistrationState.OFFLINE, suspended=True, fenced=True
    )
    observe(world)
    now = stored(world, workspace)
    assert (now.status, now.needs_launch) == (WorkspaceStatus.SUSPENDED, None)
    world.registry.sees(
        workspace,
        incarnation=1,
        state=RegistrationState.OFFLINE,
        suspended=True,
        relaunch=RelaunchReason.SILENT,
    )
    assert reconciled(world).marked == ()


def test_a_suspension_that_was_lifted_elsewhere_is_no_status_any_more(world: World) -> None:
    workspace = world.create()
    world.launch(workspace)
    world.registry.sees(workspace, incarnation=0, state=RegistrationState.PENDING, suspended=True)
    observe(world)
    assert stored(world, workspace).status is WorkspaceStatus.SUSPENDED
    # Only a launch lifts one.
    world.registry.incarnations[workspace.id] = 2
    world.registry.sees(workspace, incarnation=0, state=RegistrationState.PENDING)
    observe(world)
    assert stored(world, workspace).status is WorkspaceStatus.OFFLINE


def test_a_registry_that_forgot_a_suspension_does_not_lift_it(world: World) -> None:
    workspace = running(world)
    world.registry.sees(workspace, incarnation=1, suspended=True)
    observe(world)
    world.registry.sees(workspace, incarnation=1)
    observe(world)
    assert stored(world, workspace).status is WorkspaceStatus.SUSPENDED


def test_after_a_restore_no_box_counts_as_running(world: World) -> None:
    workspace = running(world)
    world.registry.sees(
        workspace,
        incarnation=1,
        state=RegistrationState.OFFLINE,
        relaunch=RelaunchReason.RESTORED,
    )
    observe(world)
    assert stored(world, workspace).status is WorkspaceStatus.OFFLINE
    launched = world.create()
    world.launch(launched)
    world.registry.sees(
        launched,
        incarnation=0,
        state=RegistrationState.PENDING,
        relaunch=RelaunchReason.RESTORED,
    )
    observe(world)
    assert stored(world, launched).status is WorkspaceStatus.FAILED


def test_a_registry_that_counts_fewer_launches_was_restored(world: World) -> None:
    workspace = running(world)
    world.complete(world.launch(workspace).provision)
    world.complete(world.launch(workspace).provision)
    world.registry.incarnations[workspace.id] = 1
    world.registry.sees(workspace, incarnation=1)
    # Its changes are not told of: the numbers of another database are lower.
    look = ObserveLaunches(revision=1)
    step = observe_launches.run(world.store, look, world.deployment, world.registry)
    assert (step.reminded, step.revision) == (1, 0)
    drain_outbox.run(world.store, DrainOutbox(jitter=lambda: 0.0), world.deployment, world.registry)
    assert world.registry.admissions[-1].remembered_incarnation == 3
    # As the registry stands from then on.
    world.registry.incarnations[workspace.id] = 3
    world.registry.sees(
        workspace,
        incarnation=1,
        state=RegistrationState.OFFLINE,
        relaunch=RelaunchReason.RESTORED,
    )
    step = observe_launches.run(world.store, ObserveLaunches(), world.deployment, world.registry)
    assert step.reminded == 0
    assert stored(world, workspace).status is WorkspaceStatus.FAILED
    assert reconciled(world).marked == (workspace.id,)
    mark = stored(world, workspace).needs_launch
    assert mark is not None
    assert mark.reason is NeedsLaunchReason.RESTORED
    launched = world.launch(workspace, reason=ProvisionReason.AUTO_RESTART)
    assert launched.provision.incarnation == 4
    assert world.registry.launches[-1].minimum_incarnation == 3


def test_a_launch_that_is_proven_stays_so_whatever_its_launcher_met(world: World) -> None:
    workspace = world.create()
    launched = world.launch(workspace)
    world.registry.sees(workspace, incarnation=1)
    observe(world)
    done = world.complete(launched.provision, ProvisionOutcome.FAILED)
    assert (done.state, done.outcome) == (ProvisionState.PROVEN, ProvisionOutcome.FAILED)
    now = stored(world, workspace)
    assert now.status is WorkspaceStatus.RUNNING
    assert now.last_error is not None


def test_a_launch_lapses_with_its_ticket_and_not_with_its_lease(world: World) -> None:
    workspace = world.create()
    launched = world.launch(workspace)
    world.let_leases_run_out()
    assert lapse.run(world.store, Lapse()) == ()
    world.registry.sees(workspace, incarnation=0, state=RegistrationState.PENDING)
    observe(world)
    assert get(world, launched.provision).state is ProvisionState.ENV_DELIVERED
    assert stored(world, workspace).status is WorkspaceStatus.PROVISIONING
    assert reconciled(world).marked == ()
    world.registry.sees(
        workspace,
        incarnation=0,
        state=RegistrationState.PENDING,
        ticket_unused=True,
        relaunch=RelaunchReason.TICKET_UNUSED,
    )
    observe(world)
    assert get(world, launched.provision).state is ProvisionState.LAPSED
    assert stored(world, workspace).status is WorkspaceStatus.FAILED
    assert reconciled(world).marked == (workspace.id,)


def test_a_launch_that_was_reported_as_started_lapses_with_its_ticket_too(world: World) -> None:
    workspace = world.create()
    launched = world.launch(workspace)
    world.complete(launched.provision)
    world.registry.sees(
        workspace, incarnation=0, state=RegistrationState.PENDING, ticket_unused=True
    )
    assert get(world, launched.provision).state is ProvisionState.LAPSED


@pytest.mark.parametrize("state", ["FAILED", "SUPERSEDED"])
def test_a_launch_that_ended_keeps_its_state_when_its_ticket_runs_out(
    world: World, state: str
) -> None:
    workspace = world.create()
    launched = world.launch(workspace)
    world.sql("UPDATE provision.provisions SET state = :state", state=state)
    world.registry.sees(
        workspace, incarnation=0, state=RegistrationState.PENDING, ticket_unused=True
    )
    observe(world)
    assert str(get(world, launched.provision).state) == state


def test_a_claim_whose_lease_ends_before_it_began_has_lapsed(world: World) -> None:
    workspace = world.create()
    world.registry.after = crash
    with pytest.raises(Crash):
        world.launch(workspace)
    world.sql("UPDATE provision.provisions SET state = 'CLAIMED', incarnation = 0")
    world.let_leases_run_out()
    assert len(lapse.run(world.store, Lapse())) == 1
    assert lapse.run(world.store, Lapse()) == ()
    assert world.sql("SELECT state FROM provision.provisions") == [("LAPSED",)]


def test_a_box_that_came_after_the_lease_ran_out_is_running_all_the_same(world: World) -> None:
    workspace = world.create()
    launched = world.launch(workspace)
    world.let_leases_run_out()
    lapse.run(world.store, Lapse())
    reconciled(world)
    world.registry.sees(workspace, incarnation=1)
    assert get(world, launched.provision).state is ProvisionState.PROVEN
    now = stored(world, workspace)
    assert now.status is WorkspaceStatus.RUNNING
    assert now.needs_launch is None


def test_a_relaunch_that_lapsed_before_it_began_leaves_the_running_box_alone(
    world: World,
) -> None:
    workspace = running(world)
    world.registry.down = True
    with refused(Reason.REGISTRY_UNAVAILABLE):
        world.launch(workspace)
    world.registry.down = False
    world.let_leases_run_out()
    lapse.run(world.store, Lapse())
    assert stored(world, workspace).status is WorkspaceStatus.RUNNING
    assert reconciled(world).marked == ()


def test_hundreds_of_registrations_are_walked_page_by_page(world: World) -> None:
    workspace = world.create(replace(OPUS, runtime="external"), secrets={})
    for _ in range(450):
        stranger = replace(workspace, id=new_id())
        world.registry.sees(stranger, incarnation=0)
    world.registry.sees(workspace, incarnation=0)
    assert observe(world) == 1
    assert stored(world, workspace).status is WorkspaceStatus.RUNNING
