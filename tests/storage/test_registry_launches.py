"""Admitting, launching and retiring workspaces on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest

from agentworkspace.core.ids import TenantId, WorkspaceId
from agentworkspace.core.refusal import Recovery, SharedReason
from registry_service.commands import diagnose, retire_workspace
from registry_service.commands.admit_workspace import FirstToken
from registry_service.commands.begin_incarnation import (
    BegunIncarnation,
    NotNeeded,
)
from registry_service.commands.diagnose import Diagnose
from registry_service.commands.issued import Delivery
from registry_service.commands.retire_workspace import RetireWorkspace
from registry_service.commands.validate_tokens import Rejection
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.liveness import RegistrationState
from registry_service.domain.principal import Principal
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import BootstrapPolicy
from registry_service.domain.tokens import Outcome, RevokeReason, TokenKind
from tests.storage.registry_world import (
    ACME,
    CONFINED,
    OPERATOR,
    ORIGIN,
    World,
    new_request_id,
    new_secret,
    new_workspace_id,
    reason_of,
    sha256,
    world_at,
)


@pytest.fixture(scope="module")
def world(registry_database_of_module: str) -> Iterator[World]:
    with world_at(registry_database_of_module) as world:
        yield world


# AdmitWorkspace


def test_admission_makes_a_workspace_and_its_first_token_together(world: World) -> None:
    workspace_id = new_workspace_id()
    admitted = world.admit(
        workspace_id, request_id=new_request_id(), first_token=FirstToken(label="inline")
    )
    assert admitted.issued is not None
    assert admitted.issued.plaintext is not None
    assert len(admitted.issued.plaintext.reveal()) >= 40
    assert admitted.registration is not None
    assert admitted.registration.state is RegistrationState.PENDING
    assert isinstance(world.validate(admitted.issued.plaintext, workspace_id), Principal)


def test_admitting_a_known_workspace_changes_nothing_but_may_require_tickets(
    world: World,
) -> None:
    workspace_id = world.workspace()
    before = world.rows()
    assert world.admit(workspace_id).issued is None
    assert world.rows() == before
    world.admit(workspace_id, ticket_required=True)
    again = world.admit(workspace_id).registration
    assert again is not None
    assert again.ticket_required


def test_nobody_mints_by_admitting_twice(world: World) -> None:
    workspace_id = new_workspace_id()
    world.admit(workspace_id, request_id=new_request_id(), first_token=FirstToken())
    made = new_secret(TokenKind.API)
    for wanted in (FirstToken(), FirstToken(token_sha256=sha256(made))):
        answer = world.admit(workspace_id, request_id=new_request_id(), first_token=wanted)
        assert answer.issued is None
    assert len(world.tokens(workspace_id, dead=True)) == 1
    assert world.validate(made) is Rejection.TOKEN_INVALID


def test_the_hash_of_the_first_token_is_answered_again_under_another_request_id(
    world: World,
) -> None:
    workspace_id, made = new_workspace_id(), new_secret(TokenKind.API)
    wanted = FirstToken(token_sha256=sha256(made))
    answers = [
        world.admit(workspace_id, request_id=new_request_id(), first_token=wanted).issued
        for _ in range(2)
    ]
    assert [issued and issued.delivery for issued in answers] == [Delivery.CALLER_MADE] * 2
    assert len(world.tokens(workspace_id)) == 1


def test_a_replayed_admission_hands_out_a_usable_token(world: World) -> None:
    workspace_id, request_id = new_workspace_id(), new_request_id()
    lost, again, used = (
        world.admit(workspace_id, request_id=request_id, first_token=FirstToken()).issued
        for _ in range(3)
    )
    assert lost is not None
    assert again is not None
    assert used is not None
    assert used.plaintext is not None
    assert world.validate(used.plaintext) != Rejection.TOKEN_INVALID
    final = world.admit(workspace_id, request_id=request_id, first_token=FirstToken()).issued
    assert final is not None
    assert final.delivery is Delivery.ALREADY_DELIVERED
    assert len(world.tokens(workspace_id)) == 1


def test_an_id_of_another_tenant_is_refused(world: World) -> None:
    workspace_id = world.workspace()
    reason = reason_of(lambda: world.admit(workspace_id, tenant_id=TenantId("globex")))
    assert reason is Reason.TENANT_MISMATCH
    reason = reason_of(lambda: world.admit(new_workspace_id(), caller=CONFINED))
    assert reason is SharedReason.TENANT_FORBIDDEN


def test_a_refused_first_token_leaves_no_workspace(world: World) -> None:
    taken, workspace_id = sha256(new_secret(TokenKind.API)), new_workspace_id()
    world.mint(world.workspace(), token_sha256=taken)
    before = world.rows()
    reason = reason_of(
        lambda: world.admit(
            workspace_id,
            request_id=new_request_id(),
            first_token=FirstToken(token_sha256=taken),
        )
    )
    assert reason is SharedReason.TOKEN_HASH_IN_USE
    assert world.rows() == before


# BeginIncarnation


def test_a_launch_voids_what_earlier_ones_held_and_spares_api_tokens(world: World) -> None:
    workspace_id = world.workspace()
    api = world.first_token(workspace_id)
    old_ticket = world.ticket(workspace_id)
    box = world.box(workspace_id, ticket=old_ticket)
    begun = world.begin(workspace_id)
    assert (begun.incarnation, begun.revoked_count) == (2, 1)
    assert world.token_of(workspace_id, box).token.revoke_reason is RevokeReason.RELAUNCHED
    assert isinstance(world.validate(api), Principal)
    assert world.refused(workspace_id, ticket=old_ticket) == (
        AdmissionLine.NEWER_TICKET,
        Reason.INCARNATION_SUPERSEDED,
    )


def test_a_replayed_launch_gives_the_same_incarnation_and_a_fresh_ticket(world: World) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    first = world.begin(workspace_id, request_id=request_id)
    second = world.begin(workspace_id, request_id=request_id)
    assert (first.incarnation, second.incarnation) == (1, 1)
    assert first.bootstrap_ticket is not None
    assert second.bootstrap_ticket is not None
    assert second.ticket_expire_time > first.ticket_expire_time
    assert world.refused(workspace_id, ticket=first.bootstrap_ticket) == (
        AdmissionLine.TICKET_NEEDED,
        Reason.TICKET_REQUIRED,
    )
    assert world.register(workspace_id, ticket=second.bootstrap_ticket).line == AdmissionLine.TICKET
    third = world.begin(workspace_id, request_id=request_id)
    assert (third.delivery, third.bootstrap_ticket) == (Delivery.ALREADY_DELIVERED, None)


def test_a_replayed_launch_with_a_client_made_ticket_gets_the_same_answer(
    world: World,
) -> None:
    workspace_id, ticket = world.workspace(), new_secret(TokenKind.TICKET)
    fields = {"request_id": new_request_id(), "ticket_sha256": sha256(ticket)}
    first = world.begin(workspace_id, **fields)
    assert world.begin(workspace_id, **fields) == first
    assert first.delivery is Delivery.CALLER_MADE
    assert world.register(workspace_id, ticket=ticket).line == AdmissionLine.TICKET


def test_a_replayed_launch_is_refused_once_a_newer_one_has_begun(world: World) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    world.begin(workspace_id, request_id=request_id)
    world.begin(workspace_id)
    reason = reason_of(lambda: world.begin(workspace_id, request_id=request_id))
    assert reason is Reason.INCARNATION_SUPERSEDED


def test_a_launch_with_other_parameters_or_a_used_hash_is_refused(world: World) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    world.begin(workspace_id, request_id=request_id)

    def longer() -> BegunIncarnation:
        return world.begin(workspace_id, request_id=request_id, ticket_ttl=timedelta(hours=2))

    assert reason_of(longer) is SharedReason.REQUEST_ID_REUSED
    taken = sha256(new_secret(TokenKind.TICKET))
    world.begin(workspace_id, ticket_sha256=taken)
    reason = reason_of(lambda: world.begin(workspace_id, ticket_sha256=taken))
    assert reason is SharedReason.TOKEN_HASH_IN_USE
    assert world.registration(workspace_id).incarnation == 2


def test_a_ticket_that_an_operator_voided_is_replaced_by_a_replay(world: World) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    void = world.ticket(workspace_id, request_id=request_id)
    tickets = frozenset({TokenKind.TICKET})
    world.revoke_all(workspace_id, RevokeReason.OPERATOR, kinds=tickets)
    replay = world.begin(workspace_id, request_id=request_id)
    assert (replay.incarnation, replay.delivery) == (1, Delivery.ENCLOSED)
    assert world.refused(workspace_id, ticket=void) == (
        AdmissionLine.TICKET_NEEDED,
        Reason.TICKET_REQUIRED,
    )
    answer = world.register(workspace_id, ticket=replay.bootstrap_ticket)
    assert answer.line == AdmissionLine.TICKET


@pytest.mark.parametrize("fence", [RevokeReason.COMPROMISED, RevokeReason.SUSPENDED])
def test_a_replay_of_a_launch_that_was_fenced_since_issues_nothing(
    world: World, fence: RevokeReason
) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    ticket = world.ticket(workspace_id, request_id=request_id)
    world.revoke_all(workspace_id, fence)
    before = world.rows()
    reason = reason_of(lambda: world.begin(workspace_id, request_id=request_id))
    assert reason is SharedReason.INCARNATION_FENCED
    assert world.rows() == before
    assert world.refused(workspace_id, ticket=ticket)[0] is AdmissionLine.FENCED
    again = world.begin(workspace_id, lift_suspension=True)
    assert again.incarnation == 2


def test_a_launch_takes_a_number_beyond_what_its_launcher_remembers(world: World) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    world.begin(workspace_id)
    begun = world.begin(workspace_id, request_id=request_id, minimum_incarnation=41)
    assert begun.incarnation == 42
    # No part of what a replay must repeat.
    replay = world.begin(workspace_id, request_id=request_id, minimum_incarnation=1000)
    assert replay.incarnation == 42
    assert world.begin(workspace_id, minimum_incarnation=7).incarnation == 43
    reason = reason_of(lambda: world.begin(workspace_id, minimum_incarnation=43 + 1_000_001))
    assert reason is SharedReason.INVALID_REQUEST
    assert world.begin(workspace_id, minimum_incarnation=43 + 1_000_000).incarnation == 1_000_044


def test_a_launch_that_is_not_needed_changes_nothing(world: World) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    world.launched(workspace_id)
    before = world.rows()
    ask = partial(world.begin_if_needed, workspace_id, request_id=request_id)
    assert ask() == NotNeeded(incarnation=1)
    assert world.rows() == before
    # A request_id that began nothing may begin something later.
    world.sql(
        "UPDATE registry.workspaces SET restore_time = clock_timestamp()"
        " WHERE workspace_id = %(id)s",
        id=workspace_id,
    )
    begun = ask()
    assert isinstance(begun, BegunIncarnation)
    assert begun.incarnation == 10_002
    # It is answered again, though nothing is needed any more.
    again = ask()
    assert isinstance(again, BegunIncarnation)
    assert (again.incarnation, again.delivery) == (10_002, Delivery.ENCLOSED)


# RetireWorkspace


def retire(world: World, workspace_id: WorkspaceId, **fields: object) -> int:
    defaults = {"origin": ORIGIN, "caller": OPERATOR, "workspace_id": workspace_id}
    command = RetireWorkspace(**(defaults | fields))  # type: ignore[arg-type]
    return retire_workspace.run(world.store, command).revoked_count


def test_a_retired_workspace_is_over_for_everybody(world: World) -> None:
    workspace_id = world.workspace()
    api = world.first_token(workspace_id)
    ticket = world.ticket(workspace_id)
    box = world.box(workspace_id, ticket=ticket)
    assert retire(world, workspace_id) == 2
    assert retire(world, workspace_id) == 0
    assert world.validate(api) is Rejection.TOKEN_INVALID
    assert world.refused(workspace_id, bearer=box) == (
        AdmissionLine.RETIRED,
        SharedReason.WORKSPACE_REMOVED,
    )
    answer = world.heartbeat(workspace_id, box)
    assert getattr(answer, "next_action", None) == "STOP"
    assert world.registration(workspace_id).state is RegistrationState.REMOVED
    for call in (
        lambda: world.mint(workspace_id),
        lambda: world.begin(workspace_id),
        lambda: world.admit(workspace_id),
    ):
        assert reason_of(call) is SharedReason.WORKSPACE_REMOVED


def test_an_unknown_workspace_leaves_a_tombstone(world: World) -> None:
    workspace_id, named = new_workspace_id(), new_workspace_id()
    assert retire(world, workspace_id) == 0
    assert world.refused(workspace_id) == (
        AdmissionLine.RETIRED,
        SharedReason.WORKSPACE_REMOVED,
    )
    assert reason_of(lambda: world.admit(workspace_id)) is SharedReason.WORKSPACE_REMOVED
    reason = reason_of(lambda: retire(world, named, caller=CONFINED))
    assert reason is SharedReason.TENANT_FORBIDDEN
    assert retire(world, named, caller=CONFINED, tenant_id=TenantId("globex")) == 0
    reason = reason_of(lambda: retire(world, named, tenant_id=ACME))
    assert reason is Reason.TENANT_MISMATCH


# Diagnose


def test_diagnose_forecasts_what_register_then_does(world: World) -> None:
    workspace_id = world.workspace()
    api = world.first_token(workspace_id)
    old = world.launched(workspace_id)
    ticket = world.ticket(workspace_id)
    command = Diagnose(caller=OPERATOR, workspace_id=workspace_id, policy=BootstrapPolicy.ADAPTIVE)
    diagnosis = diagnose.run(world.store, command)
    by_words = {item.evidence: item for item in diagnosis.forecasts}
    assert diagnosis.ticket is not None
    assert diagnosis.ticket.redeem_time is None
    assert len(diagnosis.tokens) == 2
    nothing = by_words["nothing"]
    assert (nothing.line, nothing.reason, nothing.recovery) == (
        AdmissionLine.TICKET_NEEDED,
        Reason.TICKET_REQUIRED,
        Recovery.RELAUNCH,
    )
    assert world.refused(workspace_id) == (AdmissionLine.TICKET_NEEDED, Reason.TICKET_REQUIRED)
    earlier = by_words["a dead instance token of an earlier launch"]
    assert (earlier.line, earlier.reason) == world.refused(workspace_id, bearer=old)
    assert by_words["a live api token"].line == world.refused(workspace_id, bearer=api)[0]
    held = by_words["the ticket of the newest launch"]
    assert (held.line, held.outcome) == (AdmissionLine.TICKET, Outcome.BOOTSTRAPPED)
    assert world.register(workspace_id, ticket=ticket).line == AdmissionLine.TICKET
    diagnosis = diagnose.run(world.store, command)
    words = [item.evidence for item in diagnosis.forecasts]
    assert "a live instance token" in words
    assert diagnosis.ticket is not None


def test_diagnose_keeps_to_the_callers_tenants(world: World) -> None:
    workspace_id = world.workspace()
    command = Diagnose(caller=CONFINED, workspace_id=workspace_id, policy=BootstrapPolicy.ADAPTIVE)
    assert reason_of(lambda: diagnose.run(world.store, command)) is SharedReason.TENANT_FORBIDDEN
