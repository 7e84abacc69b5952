"""Both sides know the same again after a restore, whichever of them knows less."""

from __future__ import annotations

from collections import Counter

from agentworkspace.core.caller import Caller
from provision_service.commands import remove_workspace, restored
from provision_service.commands.call import Call
from provision_service.commands.remove_workspace import RemoveWorkspace
from provision_service.commands.restored import Restored, Tally
from provision_service.domain.lifecycle import ProvisionReason, WorkspaceStatus
from provision_service.domain.records import Workspace
from provision_service.domain.refusals import Reason
from provision_service.domain.registry_port import RegistrationState
from provision_service.domain.restoring import Mending
from provision_service.workers import drain_outbox
from provision_service.workers.drain_outbox import DrainOutbox
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import LAUNCHER, World, refused

ALICE = Call(
    caller=Caller("alice", frozenset({"admin"}), None),
    method="provision-service restored",
    correlation_id="r-1",
)


def restore(world: World, *, dry_run: bool = False) -> Tally:
    *_, last = restored.run(
        world.store, Restored(call=ALICE, dry_run=dry_run), world.deployment, world.registry
    )
    return last


def tell(world: World) -> None:
    """As the outbox is told."""
    world.registry.admissions.clear()
    drain_outbox.run(world.store, DrainOutbox(jitter=lambda: 0.0), world.deployment, world.registry)


def stored(world: World, workspace: Workspace) -> Workspace:
    """As it is stored: the registry is not asked."""
    world.registry.down = True
    try:
        return world.read(workspace)
    finally:
        world.registry.down = False


def launched(world: World) -> Workspace:
    """Launched once, and its box is up; the registry knows it."""
    workspace = world.create()
    world.environment(workspace)
    world.registry.sees(workspace, incarnation=1)
    return world.read(workspace)


def suspended(world: World) -> Workspace:
    """As far as it is known here."""
    workspace = launched(world)
    world.sql(
        "UPDATE provision.workspaces SET status = 'SUSPENDED' WHERE workspace_id = :id",
        id=workspace.id,
    )
    return workspace


def test_what_the_registry_does_not_know_is_admitted_with_what_is_known(world: World) -> None:
    never, twice = world.create(), world.create()
    world.environment(twice)
    world.environment(twice)
    assert restore(world).mended == Counter({Mending.ADMIT: 2})
    tell(world)
    told = {each.workspace_id: each for each in world.registry.admissions}
    assert {each: told[each].remembered_incarnation for each in told} == {never.id: 0, twice.id: 2}
    assert all(each.ticket_required and not each.suspended for each in told.values())
    assert world.count("outbox") == 0
    assert stored(world, twice).admitted


def test_a_registry_that_counts_fewer_launches_is_reminded(world: World) -> None:
    workspace = launched(world)
    world.environment(workspace)
    world.registry.incarnations[workspace.id] = 1
    world.registry.sees(workspace, incarnation=1)
    assert restore(world).mended == Counter({Mending.REMIND: 1})
    # An interrupted run is finished by the next one, which tells nothing twice.
    restore(world)
    tell(world)
    (told,) = world.registry.admissions
    assert told.remembered_incarnation == 2


def test_what_was_suspended_is_suspended_and_a_launch_does_not_come_first(world: World) -> None:
    workspace = suspended(world)
    assert restore(world).mended == Counter({Mending.SUSPEND: 1})
    assert not stored(world, workspace).admitted
    world.registry.admissions.clear()
    # The outbox has not told it yet.
    world.launch(workspace)
    assert world.registry.admissions[0].suspended
    assert world.registry.admissions[0].remembered_incarnation == 1


def test_a_suspension_that_a_later_launch_lifted_stays_lifted(world: World) -> None:
    workspace = suspended(world)
    world.registry.incarnations[workspace.id] = 2
    world.registry.sees(workspace, incarnation=2)
    assert restore(world).mended == Counter({Mending.COUNT_ON: 1})


def test_what_was_removed_is_retired(world: World) -> None:
    workspace = launched(world)
    command = RemoveWorkspace(call=LAUNCHER, workspace_id=workspace.id)
    remove_workspace.run(world.store, command, world.deployment, world.registry)
    world.registry.retired.clear()
    assert restore(world).mended == Counter({Mending.RETIRE: 1})
    tell(world)
    assert world.registry.retired == {workspace.id}


def test_what_the_registry_retired_is_removed_with_its_secrets(world: World) -> None:
    workspace = launched(world)
    world.registry.sees(workspace, incarnation=1, state=RegistrationState.REMOVED)
    assert restore(world).mended == Counter({Mending.REMOVE: 1})
    assert stored(world, workspace).status is WorkspaceStatus.REMOVED
    assert world.count("secrets") == 0


def test_a_higher_number_of_the_registry_becomes_that_of_the_workspace(world: World) -> None:
    workspace = launched(world)
    world.registry.incarnations[workspace.id] = 5
    world.registry.sees(workspace, incarnation=5)
    assert restore(world).mended == Counter({Mending.COUNT_ON: 1})
    assert stored(world, workspace).incarnation == 5


def test_nobody_waits_for_a_launch_that_was_on_its_way(world: World) -> None:
    workspace, asked = world.create(), new_id()
    world.launch(workspace, request_id=asked)
    world.registry.sees(workspace, incarnation=0, state=RegistrationState.PENDING)
    assert restore(world).launches == 1
    with refused(Reason.PROVISION_SUPERSEDED):
        world.launch(workspace, request_id=asked)
    again = world.launch(workspace, reason=ProvisionReason.AUTO_RESTART)
    assert not again.joined
    assert again.env is not None


def test_a_dry_run_finds_the_same_and_changes_nothing(world: World) -> None:
    workspace = launched(world)
    world.launch(workspace)
    world.registry.registrations.clear()
    events = world.count("audit_events")
    found = restore(world, dry_run=True)
    assert (found.compared, found.mended, found.launches) == (1, Counter({Mending.ADMIT: 1}), 1)
    assert (world.count("outbox"), world.count("audit_events")) == (0, events)
    assert not world.launch(workspace).env


def test_where_both_know_the_same_nothing_changes(world: World) -> None:
    launched(world)
    events = world.count("audit_events")
    assert restore(world).mended == Counter()
    assert (world.count("outbox"), world.count("audit_events")) == (0, events)


def test_what_the_registry_knows_alone_is_named(world: World) -> None:
    here, lost, over = launched(world), launched(world), launched(world)
    world.registry.sees(over, incarnation=1, state=RegistrationState.REMOVED)
    for gone in (lost, over):
        for table in ("provisions", "secrets", "outbox", "workspaces"):
            world.sql(f"DELETE FROM provision.{table} WHERE workspace_id = :id", id=gone.id)  # noqa: S608
    found = restored.unknown_here(world.store, world.deployment, world.registry)
    assert [each.workspace_id for each in found] == [lost.id]
    assert restore(world).compared == 1
    assert stored(world, here).admitted


def test_who_did_it_stands_in_the_audit(world: World) -> None:
    workspace = launched(world)
    world.launch(workspace)
    world.registry.registrations.clear()
    restore(world)
    rows = world.sql(
        "SELECT action FROM provision.audit_events WHERE actor = 'alice'"
        " AND method = 'provision-service restored' AND correlation_id = 'r-1' ORDER BY seq"
    )
    assert [row[0] for row in rows] == ["provision.ended", "workspace.admitted_again"]
