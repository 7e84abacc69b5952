"""A launch under a fence: who may lift it, what it ends, and what it never does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentworkspace.core.refusal import SharedReason
from provision_service.domain.lifecycle import ProvisionReason
from provision_service.domain.records import Workspace
from provision_service.domain.refusals import Reason
from provision_service.domain.registry_port import Admission, RegistrationState, RegistryRefused
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import (
    ACME,
    LAUNCHER,
    UNSPECIFIED,
    World,
    refused,
)

AUTO, RESUME, RESTART = (
    ProvisionReason.AUTO_RESTART,
    ProvisionReason.RESUME,
    ProvisionReason.RESTART,
)


def suspend(world: World, workspace: Workspace) -> None:
    """As RevokeWorkspaceTokens(SUSPENDED) does at the registry."""
    world.registry.suspended.add(workspace.id)
    world.registry.sees(
        workspace, incarnation=0, state=RegistrationState.PENDING, suspended=True, fenced=True
    )


def states(world: World) -> list[str]:
    return [
        state
        for (state,) in world.sql("SELECT state FROM provision.provisions ORDER BY create_time")
    ]


@pytest.mark.parametrize(
    "reason", [ProvisionReason.CREATE, RESTART, AUTO, ProvisionReason.RECREATE]
)
def test_a_suspended_workspace_is_launched_for_no_reason_but_resume(
    world: World, reason: ProvisionReason
) -> None:
    workspace = world.create()
    suspend(world, workspace)
    with refused(SharedReason.WORKSPACE_SUSPENDED):
        world.launch(workspace, reason=reason)
    error = world.read(workspace).last_error
    assert error is not None
    assert error.code == "ERROR_REASON_WORKSPACE_SUSPENDED"
    # The claim has ended: nobody waits for a lease.
    assert states(world) == ["FAILED"]
    assert world.launch(workspace, reason=RESUME).env is not None


def test_a_refused_request_stays_refused_after_the_suspension(world: World) -> None:
    workspace, request_id = world.create(), new_id()
    suspend(world, workspace)
    with refused(SharedReason.WORKSPACE_SUSPENDED):
        world.launch(workspace, request_id=request_id)
    world.registry.suspended.clear()
    with refused(Reason.PROVISION_SUPERSEDED):
        world.launch(workspace, request_id=request_id)


def test_a_resume_needs_an_admin(world: World) -> None:
    workspace = world.create()
    suspend(world, workspace)
    with refused(SharedReason.ROLE_REQUIRED):
        world.launch(workspace, reason=RESUME, call=LAUNCHER)
    assert world.registry.launches == []
    assert world.read(workspace).last_error is None
    assert world.launch(workspace, reason=RESUME).env is not None
    assert world.registry.launches[-1].lift_suspension


@pytest.mark.parametrize(
    "reason", [ProvisionReason.CREATE, RESTART, AUTO, ProvisionReason.RECREATE]
)
def test_no_other_reason_lifts_a_suspension(world: World, reason: ProvisionReason) -> None:
    world.launch(world.create(), reason=reason)
    assert not world.registry.launches[-1].lift_suspension


def test_a_resume_never_joins_a_launch_of_another_reason(world: World) -> None:
    workspace = world.create()
    first = world.launch(workspace)
    world.registry.sees(workspace, incarnation=0, state=RegistrationState.PENDING)
    with refused(Reason.PROVISION_IN_PROGRESS):
        world.launch(workspace, reason=RESUME)
    assert world.read(workspace).last_error is None
    world.complete(first.provision)
    assert world.launch(workspace, reason=RESUME).env is not None


def test_a_resume_supersedes_a_launch_that_was_fenced(world: World) -> None:
    workspace = world.create()
    first = world.launch(workspace)
    suspend(world, workspace)
    resumed = world.launch(workspace, reason=RESUME)
    assert (resumed.joined, resumed.provision.incarnation) == (False, 2)
    assert states(world) == ["SUPERSEDED", "ENV_DELIVERED"]
    with refused(Reason.PROVISION_SUPERSEDED):
        world.complete(first.provision)


def test_two_resumes_are_one_launch(world: World) -> None:
    workspace = world.create()
    suspend(world, workspace)
    first = world.launch(workspace, reason=RESUME)
    second = world.launch(workspace, reason=RESUME)
    assert (second.joined, second.env) == (True, None)
    assert second.provision.id == first.provision.id


def test_a_resume_supersedes_a_resume_that_was_fenced_again(world: World) -> None:
    workspace = world.create()
    suspend(world, workspace)
    first = world.launch(workspace, reason=RESUME)
    suspend(world, workspace)
    second = world.launch(workspace, reason=RESUME)
    assert (second.joined, second.provision.incarnation) == (False, 2)
    assert second.provision.id != first.provision.id


def test_a_resume_that_cannot_ask_the_registry_claims_nothing(world: World) -> None:
    workspace = world.create()
    world.registry.down = True
    with refused(Reason.REGISTRY_UNAVAILABLE):
        world.launch(workspace, reason=RESUME)
    assert states(world) == []


def test_a_replay_under_a_fence_ends_its_claim_and_says_so(world: World) -> None:
    workspace, request_id = world.create(), new_id()
    world.launch(workspace, request_id=request_id)
    fenced = RegistryRefused("INCARNATION_FENCED", "fenced")
    world.registry.refusals["begin_incarnation"] = fenced
    with refused(SharedReason.INCARNATION_FENCED):
        world.launch(workspace, request_id=request_id)
    assert states(world) == ["FAILED"]
    world.registry.refusals.clear()
    assert not world.launch(workspace).joined


def test_an_auto_restart_that_nothing_needs_is_skipped(world: World) -> None:
    workspace, request_id = world.create(), new_id()
    world.registry.healthy.add(workspace.id)
    for _ in range(2):
        answer = world.launch(workspace, reason=AUTO, request_id=request_id)
        assert (answer.skipped, answer.joined, answer.env) == (True, False, None)
    assert [each.only_if_needed for each in world.registry.launches] == [True]
    now = world.read(workspace)
    assert (now.last_error, now.incarnation) == (None, 0)
    assert states(world) == ["SUPERSEDED"]
    assert world.launch(workspace).provision.incarnation == 1


def test_who_joins_an_auto_restart_gets_a_launch_in_any_case(world: World) -> None:
    """A watchdog and an operator at once are one launch, also where the watchdog was wrong."""
    workspace = world.create()
    world.registry.healthy.add(workspace.id)
    answers = []

    def operator(call: str) -> None:
        world.registry.before = lambda _call: None
        assert call == "begin_incarnation"
        answers.append(world.launch(workspace, reason=RESTART))

    world.registry.before = operator
    watchdog = world.launch(workspace, reason=AUTO)
    assert (watchdog.skipped, watchdog.provision.incarnation) == (False, 1)
    assert watchdog.env is not None
    assert [each.joined for each in answers] == [True]
    assert [each.only_if_needed for each in world.registry.launches] == [True, False]


@pytest.mark.parametrize("reason", [ProvisionReason.CREATE, RESTART, ProvisionReason.RECREATE])
def test_a_launch_that_somebody_asks_for_is_never_skipped(
    world: World, reason: ProvisionReason
) -> None:
    workspace = world.create()
    world.registry.healthy.add(workspace.id)
    assert world.launch(workspace, reason=reason).provision.incarnation == 1


def test_the_registry_never_counts_a_launch_twice(world: World) -> None:
    workspace = world.create()
    world.complete(world.launch(workspace).provision)
    world.complete(world.launch(workspace).provision)
    # Restored from a backup of before both.
    world.registry.incarnations.clear()
    assert world.launch(workspace).provision.incarnation == 3


@pytest.mark.parametrize("reason", [RESUME, ProvisionReason.RECREATE])
def test_who_is_not_launched_from_here_gets_its_way_out_of_a_fence_alone(
    world: World, reason: ProvisionReason
) -> None:
    workspace = world.create(
        replace(UNSPECIFIED, name="x", runtime="external"), secrets={"A": "secret"}
    )
    answer = world.launch(workspace, reason=reason)
    assert not answer.skipped
    assert answer.env is not None
    assert set(answer.env.reveal()) == {
        "WORKSPACE_ID",
        "WORKSPACE_INCARNATION",
        "WORKSPACE_BOOTSTRAP_TICKET",
        "WORKSPACE_REGISTRY_ADDRESS",
    }


def test_who_is_not_launched_from_here_is_skipped_for_any_other_reason(world: World) -> None:
    workspace = world.create(replace(UNSPECIFIED, name="x", runtime="external"), secrets={})
    assert world.launch(workspace).skipped
    assert world.registry.launches == []
    assert states(world) == []


@pytest.mark.parametrize(
    ("runtime", "from_birth", "ticket", "evidence"),
    [
        ("claude-code", True, True, False),
        ("claude-code", False, False, False),
        ("external", True, False, True),
        ("external", False, False, True),
    ],
)
def test_an_id_alone_opens_nothing_from_birth(
    world: World, runtime: str, from_birth: bool, ticket: bool, evidence: bool
) -> None:
    world.deployment = replace(world.deployment, tickets_from_birth=from_birth)
    if runtime == "claude-code":
        workspace = world.create()
    else:
        workspace = world.create(replace(UNSPECIFIED, name="x", runtime=runtime), secrets={})
    assert world.registry.admissions == [
        Admission(
            workspace_id=workspace.id,
            tenant_id=ACME,
            ticket_required=ticket,
            evidence_required=evidence,
        )
    ]
