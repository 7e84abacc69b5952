"""ProvisionWorkspace when something breaks in the middle: a crash, a removal, the registry."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from agentworkspace.core.refusal import SharedReason
from provision_service.commands import list_provisions, remove_workspace
from provision_service.commands.list_provisions import ListProvisions
from provision_service.commands.remove_workspace import RemoveWorkspace
from provision_service.domain.lifecycle import (
    ProvisionOutcome,
    ProvisionState,
    WorkspaceStatus,
)
from provision_service.domain.records import Workspace
from provision_service.domain.refusals import Reason
from provision_service.domain.registry_port import RegistryRefused, RegistryUnavailable
from provision_service.workers import lapse
from provision_service.workers.lapse import Lapse
from tests.storage.provision_doubles import USED_HASH, new_id
from tests.storage.provision_world import (
    LAUNCHER,
    RIVAL,
    World,
    at_once,
    refused,
)


class Crash(BaseException):
    """The process is gone: no handler of the service runs."""


def remove(world: World, workspace: Workspace) -> Workspace:
    command = RemoveWorkspace(call=LAUNCHER, workspace_id=workspace.id)
    return remove_workspace.run(world.store, command, world.deployment, world.registry)


def lapse_now(world: World) -> tuple[str, ...]:
    return lapse.run(world.store, Lapse())


def crash_at(world: World, call: str, *, after: bool) -> Callable[[], None]:
    """Let the next such call to the registry be the last thing this process does."""

    def crash(name: str) -> None:
        if name == call:
            raise Crash

    def recover() -> None:
        world.registry.before = world.registry.after = lambda _call: None

    setattr(world.registry, "after" if after else "before", crash)
    return recover


def test_a_removal_wins_over_a_launch_whenever_it_comes(world: World) -> None:
    for moment in ("before", "after"):
        workspace = world.create()

        def interfere(name: str, at: Workspace = workspace) -> None:
            if name == "begin_incarnation" and at.id not in world.registry.retired:
                remove(world, at)

        setattr(world.registry, moment, interfere)
        with refused(SharedReason.WORKSPACE_REMOVED):
            world.launch(workspace)
        world.registry.before = world.registry.after = lambda _call: None
        now = world.read(workspace)
        assert now.status is WorkspaceStatus.REMOVED
        assert workspace.id in world.registry.retired
        assert world.sql(
            "SELECT count(*) FROM provision.provisions WHERE workspace_id = :w"
            " AND state IN ('CLAIMED', 'ENV_DELIVERED')",
            w=workspace.id,
        ) == [(0,)]


def test_raced_against_a_removal_no_environment_goes_out_afterwards(world: World) -> None:
    for _ in range(8):
        workspace = world.create()
        work: list[Callable[[], object]] = [
            partial(world.launch, workspace),
            partial(remove, world, workspace),
        ]
        answers = at_once(work)
        assert isinstance(answers[1], Workspace), answers
        now = world.read(workspace)
        assert now.status is WorkspaceStatus.REMOVED
        with refused(SharedReason.WORKSPACE_REMOVED):
            world.launch(workspace)


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_while_the_registry_begins_is_gone_on_with_by_the_same_request(
    world: World, after: bool
) -> None:
    workspace, request_id = world.create(), new_id()
    recover = crash_at(world, "begin_incarnation", after=after)
    with pytest.raises(Crash):
        world.launch(workspace, request_id=request_id)
    recover()
    rival = world.launch(workspace, call=RIVAL)
    assert (rival.joined, rival.env) == (True, None)
    assert rival.provision.state is ProvisionState.CLAIMED
    again = world.launch(workspace, request_id=request_id)
    assert again.env is not None
    assert again.provision.id == rival.provision.id
    assert again.provision.incarnation == 1
    assert world.registry.incarnations[workspace.id] == 1


def test_a_registry_that_takes_all_the_time_of_the_call_leaves_no_claim_behind(
    world: World,
) -> None:
    workspace, request_id = world.create(), new_id()
    left = [30.0]

    def hang(_call: str) -> None:
        left[0] = 0.0
        raise RegistryUnavailable

    whole, world.store = world.store, world.store.within(lambda: left[0])
    world.registry.before = hang
    with refused(Reason.REGISTRY_UNAVAILABLE):
        world.launch(workspace, request_id=request_id)
    world.store, world.registry.before = whole, lambda _call: None
    rival = world.launch(workspace, call=RIVAL)
    assert rival.env is not None


def test_a_crash_whose_launcher_never_returns_ends_with_the_lease(world: World) -> None:
    workspace = world.create()
    recover = crash_at(world, "begin_incarnation", after=True)
    with pytest.raises(Crash):
        world.launch(workspace)
    recover()
    world.let_leases_run_out()
    assert len(lapse_now(world)) == 1
    second = world.launch(workspace, call=RIVAL)
    assert second.env is not None
    assert second.provision.incarnation == 2


def test_with_the_registry_down_the_claim_is_released_and_the_same_request_goes_on(
    world: World,
) -> None:
    workspace, request_id = world.create(), new_id()
    world.registry.down = True
    with refused(Reason.REGISTRY_UNAVAILABLE) as caught:
        world.launch(workspace, request_id=request_id)
    assert caught.value.retry_after is not None
    released = list_provisions.run(
        world.store, ListProvisions(call=LAUNCHER, workspace_id=workspace.id)
    ).rows[0]
    assert released.state is ProvisionState.FAILED
    assert world.read(workspace).status is WorkspaceStatus.PENDING
    assert world.read(workspace).last_error is None
    world.registry.down = False
    again = world.launch(workspace, request_id=request_id)
    assert again.env is not None
    assert again.provision.id == released.id
    assert again.provision.error is None
    assert world.complete(again.provision).state is ProvisionState.LAUNCHED


def test_a_released_launch_yields_to_a_newer_one(world: World) -> None:
    workspace, request_id = world.create(), new_id()
    world.registry.down = True
    with refused(Reason.REGISTRY_UNAVAILABLE):
        world.launch(workspace, request_id=request_id)
    world.registry.down = False
    newer = world.launch(workspace, call=RIVAL)
    assert newer.env is not None
    joined = world.launch(workspace, request_id=request_id)
    assert (joined.joined, joined.provision.id) == (True, newer.provision.id)
    world.complete(newer.provision)
    with refused(Reason.PROVISION_SUPERSEDED):
        world.launch(workspace, request_id=request_id)


def test_a_claim_that_was_lost_meanwhile_hands_out_nothing(world: World) -> None:
    workspace = world.create()

    def take_over(name: str) -> None:
        if name == "begin_incarnation":
            world.registry.after = lambda _call: None
            world.let_leases_run_out()
            world.launch(workspace, call=RIVAL)

    world.registry.after = take_over
    with refused(Reason.PROVISION_SUPERSEDED):
        world.launch(workspace)
    now = world.read(workspace)
    assert now.incarnation == 2


def test_a_workspace_that_the_outbox_still_holds_is_admitted_first(world: World) -> None:
    world.registry.down = True
    workspace = world.create()
    world.registry.down = False
    assert world.launch(workspace).env is not None
    assert world.registry.calls == ["admit", "begin_incarnation"]
    assert world.read(workspace).admitted
    assert world.count("outbox") == 0


def test_a_token_hash_in_use_does_not_stop_the_launch(world: World) -> None:
    world.registry.down = True
    workspace = world.create(token_sha256=USED_HASH)
    world.registry.down = False
    assert world.launch(workspace).env is not None


def test_a_registry_that_forgot_the_workspace_is_told_again(world: World) -> None:
    workspace = world.create()
    world.registry.admitted.clear()
    assert world.launch(workspace).env is not None


def test_a_registry_that_refuses_hands_out_nothing(world: World) -> None:
    workspace = world.create()
    world.registry.refusals["begin_incarnation"] = RegistryRefused("ROLE_REQUIRED", "no")
    with refused(Reason.REGISTRY_UNAVAILABLE):
        world.launch(workspace)
    del world.registry.refusals["begin_incarnation"]
    world.registry.retired.add(workspace.id)
    with refused(SharedReason.WORKSPACE_REMOVED):
        world.launch(workspace)


def test_a_launch_that_only_claimed_cannot_have_succeeded(world: World) -> None:
    workspace = world.create()
    recover = crash_at(world, "begin_incarnation", after=False)
    with pytest.raises(Crash):
        world.launch(workspace)
    recover()
    claimed = world.launch(workspace, call=RIVAL).provision
    with refused(Reason.PROVISION_SUPERSEDED):
        world.complete(claimed)
    assert world.complete(claimed, ProvisionOutcome.FAILED).state is ProvisionState.FAILED
