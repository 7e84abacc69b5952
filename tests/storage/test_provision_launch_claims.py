"""ProvisionWorkspace: one launch at a time, whoever asks, whatever breaks in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from agentworkspace.core.refusal import SharedReason
from provision_service.commands import get_provision, list_provisions, update_workspace
from provision_service.commands.get_provision import GetProvision
from provision_service.commands.list_provisions import ListProvisions
from provision_service.commands.update_workspace import UpdateWorkspace
from provision_service.domain.lifecycle import (
    ProvisionOutcome,
    ProvisionReason,
    ProvisionState,
    WorkspaceStatus,
)
from provision_service.domain.records import Provision, ProvisionError, Workspace
from provision_service.domain.refusals import Reason
from provision_service.launch import extend_provision
from provision_service.launch.extend_provision import ExtendProvision
from provision_service.workers import lapse
from provision_service.workers.lapse import Lapse
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import (
    LAUNCHER,
    OAUTH,
    OF_GLOBEX,
    OPUS,
    RIVAL,
    UNSPECIFIED,
    World,
    at_once,
    refused,
)


def get(world: World, provision: Provision) -> Provision:
    command = GetProvision(call=LAUNCHER, provision_id=provision.id)
    return get_provision.run(world.store, command, world.deployment, world.registry)


def extend(world: World, provision: Provision) -> Provision:
    command = ExtendProvision(call=LAUNCHER, provision_id=provision.id)
    return extend_provision.run(world.store, command, world.deployment)


def rename(world: World, workspace: Workspace, model: str = "sonnet") -> None:
    command = UpdateWorkspace(
        call=LAUNCHER,
        workspace_id=workspace.id,
        spec=replace(OPUS, model=model),
        mask=frozenset({"model"}),
        request_id=new_id(),
    )
    update_workspace.run(world.store, command, world.deployment)


def lapse_now(world: World) -> tuple[str, ...]:
    return lapse.run(world.store, Lapse())


def test_a_launch_hands_out_the_environment_with_its_ticket(world: World) -> None:
    workspace = world.create()
    launched = world.launch(workspace, reason=ProvisionReason.CREATE)
    assert launched.env is not None
    env = launched.env.reveal()
    assert env["WORKSPACE_ID"] == workspace.id
    assert env["WORKSPACE_INCARNATION"] == "1"
    assert env["WORKSPACE_BOOTSTRAP_TICKET"].startswith("awt_")
    assert env["WORKSPACE_REGISTRY_ADDRESS"] == "registry.test:7101"
    assert env["CLAUDE_CODE_OAUTH_TOKEN"] == OAUTH["CLAUDE_CODE_OAUTH_TOKEN"]
    assert env["MODEL"] == "opus"
    assert (launched.joined, launched.skipped) == (False, False)
    provision = launched.provision
    assert (provision.state, provision.incarnation) == (ProvisionState.ENV_DELIVERED, 1)
    assert provision.lease_expire_time is not None
    assert provision.create_time is not None
    lease = provision.lease_expire_time - provision.create_time
    assert timedelta(minutes=14) < lease < timedelta(minutes=16)
    now = world.read(workspace)
    assert (now.status, now.incarnation) == (WorkspaceStatus.PROVISIONING, 1)


def test_the_history_keeps_names_and_fingerprints_and_never_a_value(world: World) -> None:
    workspace = world.create()
    launched = world.launch(workspace)
    assert launched.env is not None
    stored = get(world, launched.provision)
    assert {entry.name for entry in stored.manifest} == set(launched.env.reveal())
    origins = {entry.name: entry.origin for entry in stored.manifest}
    assert origins["CLAUDE_CODE_OAUTH_TOKEN"] == "workspace_secret"
    assert origins["WORKSPACE_BOOTSTRAP_TICKET"] == "registry"
    assert stored.billing is not None
    assert stored.billing == launched.provision.billing
    assert stored.billing.resolution == world.resolve(workspace).resolution
    text = str(world.sql("SELECT p.*::text FROM provision.provisions p"))
    for value in launched.env.reveal().values():
        if value.startswith(("sk-", "awt_")):
            assert value not in text


def test_the_ticket_lives_as_long_as_the_lease_at_least(world: World) -> None:
    world.deploy(provision_lease=timedelta(hours=2))
    world.launch(world.create())
    assert world.registry.ticket_ttls == [timedelta(hours=2)]


def test_of_many_launches_at_once_one_gets_the_environment_and_the_others_join(
    world: World,
) -> None:
    workspace = world.create()
    answers = at_once([lambda: world.launch(workspace) for _ in range(24)])
    launched = [each for each in answers if not isinstance(each, Exception)]
    assert len(launched) == 24, answers
    assert sum(each.env is not None for each in launched) == 1
    assert sum(each.joined for each in launched) == 23
    assert {each.provision.id for each in launched if each.joined} <= {
        each.provision.id for each in launched if each.env is not None
    }
    assert world.registry.incarnations[workspace.id] == 1


def test_a_rival_joins_and_its_own_request_gets_a_fresh_ticket(world: World) -> None:
    workspace, request_id = world.create(), new_id()
    first = world.launch(workspace, request_id=request_id)
    joined = world.launch(workspace, call=RIVAL, request_id=request_id)
    assert (joined.joined, joined.env) == (True, None)
    assert joined.provision.id == first.provision.id
    again = world.launch(workspace, request_id=request_id)
    assert again.provision.id == first.provision.id
    assert again.provision.incarnation == 1
    assert again.env is not None
    assert first.env is not None
    tickets = {each.reveal()["WORKSPACE_BOOTSTRAP_TICKET"] for each in (first.env, again.env)}
    assert len(tickets) == 2
    assert world.count("provisions") == 1


def test_a_replay_rebuilds_the_environment_from_what_is_stored_now(world: World) -> None:
    workspace, request_id = world.create(), new_id()
    world.launch(workspace, request_id=request_id)
    world.set_own(workspace, "GITEA_TOKEN", "new")
    again = world.launch(workspace, request_id=request_id)
    assert again.env is not None
    assert again.env.reveal()["GITEA_TOKEN"] == "new"
    assert world.complete(again.provision).rerun_required is False


def test_a_write_that_the_running_box_never_saw_is_not_lost_in_a_replay(world: World) -> None:
    workspace, request_id = world.create(), new_id()
    first = world.launch(workspace, request_id=request_id)
    world.registry.redeemed.add(first.provision.id)
    world.set_own(workspace, "GREETING", "hello")
    again = world.launch(workspace, request_id=request_id)
    assert (again.joined, again.provision.rerun_required) == (True, True)
    assert world.complete(first.provision).rerun_required


def test_a_replay_whose_ticket_was_redeemed_starts_nothing(world: World) -> None:
    workspace, request_id = world.create(), new_id()
    first = world.launch(workspace, request_id=request_id)
    world.registry.redeemed.add(first.provision.id)
    again = world.launch(workspace, request_id=request_id)
    assert (again.joined, again.env) == (True, None)


def test_a_replay_of_a_completed_launch_starts_nothing(world: World) -> None:
    workspace, request_id = world.create(), new_id()
    world.complete(world.launch(workspace, request_id=request_id).provision)
    again = world.launch(workspace, request_id=request_id)
    assert (again.joined, again.env) == (True, None)
    assert again.provision.state is ProvisionState.LAUNCHED


def test_a_request_id_with_another_reason_is_refused(world: World) -> None:
    workspace, request_id = world.create(), new_id()
    world.launch(workspace, request_id=request_id)
    with refused(SharedReason.REQUEST_ID_REUSED):
        world.launch(workspace, request_id=request_id, reason=ProvisionReason.RECREATE)


def test_after_the_lease_somebody_else_launches_anew(world: World) -> None:
    workspace, request_id = world.create(), new_id()
    first = world.launch(workspace, request_id=request_id)
    world.let_leases_run_out()
    second = world.launch(workspace, call=RIVAL)
    assert second.env is not None
    assert second.provision.incarnation == 2
    assert get(world, first.provision).state is ProvisionState.SUPERSEDED
    with refused(Reason.PROVISION_SUPERSEDED):
        world.complete(first.provision)
    late = world.launch(workspace, request_id=request_id)
    assert (late.joined, late.provision.id) == (True, second.provision.id)
    world.complete(second.provision)
    with refused(Reason.PROVISION_SUPERSEDED):
        world.launch(workspace, request_id=request_id)


def test_a_lapsed_request_has_to_ask_anew(world: World) -> None:
    workspace, request_id = world.create(), new_id()
    first = world.launch(workspace, request_id=request_id)
    world.let_leases_run_out()
    for _ in range(2):
        with refused(Reason.PROVISION_SUPERSEDED):
            world.launch(workspace, request_id=request_id)
        with refused(Reason.PROVISION_SUPERSEDED):
            world.complete(first.provision)
        with refused(Reason.PROVISION_SUPERSEDED):
            extend(world, first.provision)
        lapse_now(world)
    assert get(world, first.provision).state is ProvisionState.ENV_DELIVERED


def test_extending_holds_the_claim_for_another_lease(world: World) -> None:
    workspace = world.create()
    first = world.launch(workspace)
    world.sql("UPDATE provision.provisions SET lease_expire_time = now() + interval '5 s'")
    extended = extend(world, first.provision)
    assert extended.lease_expire_time is not None
    assert extended.create_time is not None
    assert extended.lease_expire_time - extended.create_time > timedelta(minutes=14)
    world.complete(first.provision)
    assert extend(world, first.provision).state is ProvisionState.LAUNCHED


def test_completing_twice_is_a_no_op_and_changing_ones_mind_is_refused(world: World) -> None:
    launched = world.launch(world.create())
    done = world.complete(launched.provision)
    assert done.state is ProvisionState.LAUNCHED
    assert world.complete(launched.provision) == done
    with refused(Reason.PROVISION_SUPERSEDED):
        world.complete(launched.provision, ProvisionOutcome.FAILED)
    assert get(world, launched.provision) == done


def test_a_failed_completion_says_so_on_the_workspace(world: World) -> None:
    workspace = world.create()
    launched = world.launch(workspace)
    error = ProvisionError(code="IMAGE_PULL", message="no such image")
    failed = world.complete(launched.provision, ProvisionOutcome.FAILED, error)
    assert (failed.state, failed.error) == (ProvisionState.FAILED, error)
    now = world.read(workspace)
    assert now.status is WorkspaceStatus.FAILED
    assert now.last_error is not None
    assert (now.last_error.code, now.last_error.incarnation) == ("IMAGE_PULL", 1)
    assert world.launch(workspace).env is not None


@pytest.mark.parametrize("what", ["spec", "own", "global"])
def test_a_write_during_a_launch_asks_for_another_one(world: World, what: str) -> None:
    workspace = world.create()
    launched = world.launch(workspace)
    if what == "spec":
        rename(world, workspace)
    elif what == "own":
        world.set_own(workspace, "GITEA_TOKEN", "t")
    else:
        world.set_global("SOMETHING", "t")
    assert extend(world, launched.provision).rerun_required
    assert world.complete(launched.provision).rerun_required
    again = world.launch(workspace)
    assert world.complete(again.provision).rerun_required is False


def test_no_write_is_lost_between_an_update_and_a_completion(world: World) -> None:
    for round_number in range(8):
        workspace = world.create()
        launched = world.launch(workspace)
        model = ("sonnet", "haiku")[round_number % 2]
        work: list[Callable[[], object]] = [
            partial(rename, world, workspace, model),
            partial(world.complete, launched.provision),
        ]
        answers = at_once(work)
        assert not [each for each in answers if isinstance(each, Exception)], answers
        completed = get(world, launched.provision)
        revision_when_completed = completed.input_revision
        now = world.read(workspace)
        assert now.input_revision == revision_when_completed + 1
        # Written before the completion: it says so. Written after it: the launcher that wrote
        # it knows that a launch was complete.
        if not completed.rerun_required:
            times = world.sql(
                "SELECT p.complete_time < w.update_time FROM provision.provisions p"
                " JOIN provision.workspaces w USING (workspace_id) WHERE provision_id = :p",
                p=launched.provision.id,
            )
            assert times == [(True,)]


def test_a_refused_launch_touches_neither_registry_nor_claim_and_is_remembered(
    world: World,
) -> None:
    workspace = world.create()
    world.complete(world.launch(workspace).provision)
    calls = list(world.registry.calls)
    world.sql("DELETE FROM provision.secrets")
    with refused(Reason.MISSING_BYOK_CREDENTIAL):
        world.launch(workspace)
    assert world.registry.calls == calls
    assert world.count("provisions") == 1
    now = world.read(workspace)
    assert now.last_error is not None
    assert now.last_error.code == "ERROR_REASON_MISSING_BYOK_CREDENTIAL"
    assert now.last_error.incarnation == 1
    assert now.status is WorkspaceStatus.PROVISIONING


def test_validate_only_claims_nothing_and_remembers_nothing(world: World) -> None:
    workspace = world.create()
    seen = world.launch(workspace, validate_only=True)
    assert (seen.env, seen.joined, seen.skipped) == (None, False, False)
    assert seen.provision.billing is not None
    world.sql("DELETE FROM provision.secrets")
    with refused(Reason.MISSING_BYOK_CREDENTIAL):
        world.launch(workspace, validate_only=True)
    assert world.count("provisions") == 0
    assert world.read(workspace).last_error is None


@pytest.mark.parametrize("runtime", ["external", "kimi", "kimi-cli", "mock"])
def test_a_runtime_without_a_box_is_skipped_and_the_registry_left_alone(
    world: World, runtime: str
) -> None:
    workspace = world.create(replace(UNSPECIFIED, name="x", runtime=runtime), secrets={})
    calls = list(world.registry.calls)
    seen = world.launch(workspace)
    assert (seen.env, seen.skipped, seen.joined) == (None, True, False)
    assert world.registry.calls == calls
    assert world.count("provisions") == 0


def test_a_foreign_tenants_caller_sees_and_touches_nothing(world: World) -> None:
    workspace = world.create()
    launched = world.launch(workspace)
    with refused(SharedReason.TENANT_FORBIDDEN):
        world.launch(workspace, call=OF_GLOBEX)
    command = GetProvision(call=OF_GLOBEX, provision_id=launched.provision.id)
    with refused(SharedReason.TENANT_FORBIDDEN):
        get_provision.run(world.store, command, world.deployment, world.registry)
    page = list_provisions.run(
        world.store, ListProvisions(call=OF_GLOBEX, workspace_id=workspace.id)
    )
    assert page.rows == ()


def test_unknown_launches_and_workspaces_are_said(world: World) -> None:
    nobody = replace(world.create(), id=new_id())
    with refused(SharedReason.WORKSPACE_UNKNOWN):
        world.launch(nobody)
    unknown = replace(world.launch(world.create()).provision, id=new_id())
    for act in (world.complete, lambda each: extend(world, each), lambda each: get(world, each)):
        with refused(Reason.PROVISION_UNKNOWN):
            act(unknown)
