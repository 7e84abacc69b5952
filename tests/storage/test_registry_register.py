"""Register on a real database: what each admission writes, and what a refusal leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.core.secret import Secret
from registry_service.commands import authenticated_registers
from registry_service.commands.validate_tokens import Rejection
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.liveness import RegistrationState
from registry_service.domain.principal import Principal
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import BootstrapPolicy
from registry_service.domain.tokens import Outcome, RevokeReason, TokenKind
from tests.storage.registry_world import (
    World,
    new_request_id,
    new_secret,
    new_workspace_id,
    register_of,
    sha256,
    world_at,
)


@pytest.fixture(scope="module")
def world(registry_database_of_module: str) -> Iterator[World]:
    with world_at(registry_database_of_module) as world:
        yield world


def instance_secret() -> Secret:
    return new_secret(TokenKind.INSTANCE)


# Before the table


def test_an_unknown_workspace_is_refused_and_nothing_is_created(world: World) -> None:
    before = world.rows()
    assert world.refused(new_workspace_id()) == (
        AdmissionLine.UNKNOWN,
        SharedReason.WORKSPACE_UNKNOWN,
    )
    assert world.rows() == before


def test_a_refusal_without_evidence_writes_nothing(world: World) -> None:
    workspace_id = world.workspace()
    world.box(workspace_id)
    before = world.rows()
    assert world.refused(workspace_id) == (AdmissionLine.ANOTHER_LIVES, Reason.BEARER_MISSING)
    assert world.refused(workspace_id, bearer=Secret("stranger")) == (
        AdmissionLine.ANOTHER_LIVES,
        SharedReason.BEARER_REJECTED,
    )
    assert world.rows() == before
    assert world.registration(workspace_id).rejected_registers.count == 0


# Lines 1 and 9: live tokens


def test_a_fresh_workspace_is_bootstrapped_once(world: World) -> None:
    workspace_id = world.workspace()
    answer = world.register(workspace_id, url="http://box:1", runtime="claude-code")
    assert (answer.line, answer.outcome) == (AdmissionLine.OPEN_DOOR, Outcome.BOOTSTRAPPED)
    assert answer.without_evidence
    assert world.live_instances(workspace_id) == [answer.token.token_id]
    registration = world.registration(workspace_id)
    assert registration.state is RegistrationState.ONLINE
    assert (registration.url, registration.runtime) == ("http://box:1", "claude-code")


def test_a_live_token_authenticates_and_updates_what_the_box_says(world: World) -> None:
    workspace_id = world.workspace()
    token = world.box(workspace_id, url="http://box:1", agent_card={"skills": ["a"]})
    answer = world.register(workspace_id, bearer=token, url="http://box:2")
    assert (answer.line, answer.outcome, answer.auth_token) == (
        AdmissionLine.LIVE_TOKEN,
        Outcome.AUTHENTICATED,
        None,
    )
    registration = world.registration(workspace_id)
    assert registration.url == "http://box:2"
    assert registration.agent_card == {"skills": ["a"]}
    assert world.token_of(workspace_id, token).token.first_use_time is not None


def test_a_box_rotates_and_the_old_token_dies_at_the_new_ones_first_use(
    world: World,
) -> None:
    workspace_id = world.workspace()
    old, new = world.box(workspace_id), instance_secret()
    answer = world.register(workspace_id, bearer=old, token_sha256=sha256(new))
    assert (answer.line, answer.auth_token) == (AdmissionLine.LIVE_TOKEN, None)
    assert isinstance(world.validate(old, workspace_id), Principal)
    assert isinstance(world.validate(new, workspace_id), Principal)
    assert world.validate(old, workspace_id) is Rejection.TOKEN_INVALID
    assert world.token_of(workspace_id, old).token.revoke_reason is RevokeReason.ROTATED


def test_a_box_that_rotates_without_end_is_slowed_down_and_the_next_launch_gets_in(
    world: World,
) -> None:
    workspace_id = world.workspace()
    bearer = world.launched(workspace_id)
    for _ in range(29):
        new = instance_secret()
        world.register(workspace_id, bearer=bearer, token_sha256=sha256(new))
        bearer = new
    with pytest.raises(Refusal, match="took 30 tokens within a minute") as refused:
        world.register(workspace_id, bearer=bearer, token_sha256=sha256(instance_secret()))
    assert refused.value.reason is SharedReason.RATE_LIMITED
    assert refused.value.retry_after == timedelta(seconds=2)
    assert world.register(workspace_id, bearer=bearer).line is AdmissionLine.LIVE_TOKEN
    ticket = world.ticket(workspace_id)
    assert world.register(workspace_id, ticket=ticket).line is AdmissionLine.TICKET


def test_the_pending_token_of_a_rotation_is_replaced_by_another_hash(
    world: World,
) -> None:
    workspace_id = world.workspace()
    old, lost, new = world.box(workspace_id), instance_secret(), instance_secret()
    world.register(workspace_id, bearer=old, token_sha256=sha256(lost))
    world.register(workspace_id, bearer=old, token_sha256=sha256(new))
    assert world.validate(lost) is Rejection.TOKEN_INVALID
    assert isinstance(world.validate(new), Principal)


def test_a_stale_bearer_is_refused_while_a_token_is_live(world: World) -> None:
    workspace_id = world.workspace()
    first = world.launched(workspace_id)
    world.begin(workspace_id)
    world.expire(workspace_id, TokenKind.TICKET)
    recovered = world.register(workspace_id, bearer=first)
    assert recovered.line == AdmissionLine.OWN_TOKEN
    assert world.refused(workspace_id, bearer=first) == (
        AdmissionLine.ANOTHER_LIVES,
        SharedReason.BEARER_REJECTED,
    )


def test_a_hash_is_usable_once_ever_across_workspaces(world: World) -> None:
    taken = world.workspace()
    secret = instance_secret()
    world.register(taken, token_sha256=sha256(secret))
    other = world.workspace()
    line, reason = world.refused(other, token_sha256=sha256(secret))
    assert (line, reason) == (AdmissionLine.OPEN_DOOR, SharedReason.TOKEN_HASH_IN_USE)
    assert world.live_instances(other) == []


# Tickets


def test_a_ticket_bootstraps_and_every_other_instance_token_dies(world: World) -> None:
    workspace_id = world.workspace()
    old = world.box(workspace_id)
    ticket = world.ticket(workspace_id)
    answer = world.register(workspace_id, ticket=ticket)
    assert (answer.line, answer.outcome, answer.incarnation) == (
        AdmissionLine.TICKET,
        Outcome.BOOTSTRAPPED,
        1,
    )
    assert world.validate(old) is Rejection.TOKEN_INVALID
    assert world.live_instances(workspace_id) == [answer.token.token_id]
    assert world.registration(workspace_id).registered_incarnation == 1


def test_a_lost_answer_is_replaced_while_nobody_used_its_token(world: World) -> None:
    workspace_id = world.workspace()
    ticket = world.ticket(workspace_id)
    lost = world.box(workspace_id, ticket=ticket)
    answer = world.register(workspace_id, ticket=ticket)
    assert (answer.line, answer.outcome) == (AdmissionLine.TICKET_AGAIN, Outcome.BOOTSTRAPPED)
    assert answer.auth_token is not None
    assert world.validate(lost) is Rejection.TOKEN_INVALID
    assert isinstance(world.validate(answer.auth_token), Principal)


def test_the_same_hash_gets_the_same_token(world: World) -> None:
    workspace_id, secret = world.workspace(), instance_secret()
    ticket = world.ticket(workspace_id)
    first = world.register(workspace_id, ticket=ticket, token_sha256=sha256(secret))
    again = world.register(workspace_id, ticket=ticket, token_sha256=sha256(secret))
    assert (again.line, again.token.token_id) == (AdmissionLine.TICKET_AGAIN, first.token.token_id)


def test_the_same_hash_and_request_id_get_the_same_answer_and_write_nothing(
    world: World,
) -> None:
    workspace_id, secret, request_id = world.workspace(), instance_secret(), new_request_id()
    fields = {"token_sha256": sha256(secret), "request_id": request_id}
    first = world.register(workspace_id, **fields)
    before, state = world.rows(), world.registration(workspace_id)
    again = world.register(workspace_id, **fields)
    assert (again.line, again.token.token_id) == (AdmissionLine.REPLAY, first.token.token_id)
    assert again.outcome is Outcome.BOOTSTRAPPED
    assert world.rows() == before
    assert world.registration(workspace_id) == state


def test_request_id_alone_opens_nothing(world: World) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    world.register(workspace_id, request_id=request_id)
    assert world.refused(workspace_id, request_id=request_id) == (
        AdmissionLine.ANOTHER_LIVES,
        Reason.BEARER_MISSING,
    )


def test_a_restarted_box_derives_the_same_token_again(world: World) -> None:
    workspace_id, secret = world.workspace(), instance_secret()
    ticket = world.ticket(workspace_id)
    world.register(workspace_id, ticket=ticket, token_sha256=sha256(secret))
    world.register(workspace_id, bearer=secret)
    answer = world.register(workspace_id, ticket=ticket, token_sha256=sha256(secret))
    assert (answer.line, answer.outcome) == (AdmissionLine.TICKET_AND_TOKEN, Outcome.AUTHENTICATED)
    assert len(world.tokens(workspace_id, dead=True)) == 1


def test_a_redeemed_current_ticket_recovers_after_a_revocation(world: World) -> None:
    workspace_id = world.workspace()
    ticket = world.ticket(workspace_id)
    token = world.box(workspace_id, ticket=ticket)
    world.register(workspace_id, bearer=token)
    world.revoke(workspace_id, world.token_of(workspace_id, token).token.token_id)
    answer = world.register(workspace_id, ticket=ticket)
    assert (answer.line, answer.outcome) == (AdmissionLine.TICKET_REDEEMED, Outcome.RECOVERED)


def test_an_expired_unused_ticket_asks_for_a_launch(world: World) -> None:
    workspace_id = world.workspace()
    ticket = world.ticket(workspace_id)
    world.expire(workspace_id, TokenKind.TICKET)
    assert world.refused(workspace_id, ticket=ticket) == (
        AdmissionLine.TICKET_EXPIRED,
        Reason.TICKET_EXPIRED,
    )


# What is out


def test_a_compromised_token_opens_nothing(world: World) -> None:
    workspace_id = world.workspace()
    token = world.box(workspace_id)
    token_id = world.token_of(workspace_id, token).token.token_id
    world.revoke(workspace_id, token_id, reason=RevokeReason.COMPROMISED)
    for shown in ({"bearer": token}, {}):
        assert world.refused(workspace_id, **shown) == (
            AdmissionLine.FENCED,
            Reason.TICKET_REQUIRED,
        )
    world.begin(workspace_id)
    world.expire(workspace_id, TokenKind.TICKET)
    assert world.refused(workspace_id, bearer=token) == (
        AdmissionLine.COMPROMISED,
        SharedReason.BEARER_REJECTED,
    )


def test_an_older_box_is_told_to_stop_once_the_new_one_registered(world: World) -> None:
    workspace_id = world.workspace()
    old = world.box(workspace_id, ticket=world.ticket(workspace_id))
    ticket = world.ticket(workspace_id)
    assert world.refused(workspace_id, bearer=old) == (
        AdmissionLine.NEWER_TICKET,
        Reason.INCARNATION_SUPERSEDED,
    )
    world.box(workspace_id, ticket=ticket)
    assert world.refused(workspace_id, bearer=old) == (
        AdmissionLine.SUPERSEDED,
        Reason.INCARNATION_SUPERSEDED,
    )


def test_a_suspension_keeps_out_until_a_launch_that_lifts_it(world: World) -> None:
    workspace_id = world.workspace()
    ticket = world.ticket(workspace_id)
    world.box(workspace_id, ticket=ticket)
    world.revoke_all(workspace_id, RevokeReason.SUSPENDED)
    assert world.refused(workspace_id, ticket=ticket) == (
        AdmissionLine.FENCED,
        SharedReason.WORKSPACE_SUSPENDED,
    )
    assert (
        world.register(workspace_id, ticket=world.ticket(workspace_id, lift_suspension=True)).line
        == AdmissionLine.TICKET
    )


def test_the_api_token_lets_a_box_in_before_any_ticket(world: World) -> None:
    workspace_id = world.workspace()
    api = world.first_token(workspace_id)
    answer = world.register(workspace_id, bearer=api)
    assert (answer.line, answer.outcome) == (AdmissionLine.API_TOKEN, Outcome.RECOVERED)
    closed = world.workspace(ticket_required=True)
    shut = world.first_token(closed)
    assert world.refused(closed, bearer=shut) == (AdmissionLine.OPEN_DOOR, Reason.TICKET_REQUIRED)


def test_a_box_whose_token_an_operator_took_comes_back(world: World) -> None:
    workspace_id = world.workspace()
    token = world.launched(workspace_id)
    world.revoke(workspace_id, world.token_of(workspace_id, token).token.token_id)
    answer = world.register(workspace_id, bearer=token)
    assert (answer.line, answer.outcome) == (AdmissionLine.OWN_TOKEN, Outcome.RECOVERED)
    assert answer.auth_token is not None
    assert isinstance(world.validate(answer.auth_token, workspace_id), Principal)


def test_evidence_that_was_replaced_opens_nothing_any_more(world: World) -> None:
    workspace_id = world.workspace()
    world.begin(workspace_id)
    token = world.register(workspace_id, ticket=world.ticket(workspace_id)).auth_token
    assert token is not None
    world.revoke(workspace_id, world.token_of(workspace_id, token).token.token_id)
    second = world.box(workspace_id, bearer=token)
    assert isinstance(world.validate(second), Principal)
    world.revoke(workspace_id, world.token_of(workspace_id, second).token.token_id)
    assert world.refused(workspace_id, bearer=token) == (
        AdmissionLine.TICKET_NEEDED,
        Reason.TICKET_REQUIRED,
    )


@pytest.mark.parametrize(
    ("policy", "open_to_all"), [(BootstrapPolicy.OPEN, True), (BootstrapPolicy.STRICT, False)]
)
def test_the_policy_decides_about_a_workspace_without_a_ticket(
    world: World, policy: BootstrapPolicy, *, open_to_all: bool
) -> None:
    workspace_id = world.workspace()
    if open_to_all:
        assert world.register(workspace_id, policy=policy).line == AdmissionLine.OPEN_DOOR
    else:
        assert world.refused(workspace_id, policy=policy) == (
            AdmissionLine.OPEN_DOOR,
            Reason.TICKET_REQUIRED,
        )


def test_a_card_may_quote_the_name_of_a_character_that_it_may_not_hold(world: World) -> None:
    workspace_id = world.workspace()
    world.box(workspace_id, agent_card={"hint": "write \\u0000 for NUL"})
    assert world.registration(workspace_id).agent_card == {"hint": "write \\u0000 for NUL"}


# The authenticated path, many at once


def test_authenticated_registers_answer_line_1_and_leave_the_rest_to_register(
    world: World,
) -> None:
    known, other = world.workspace(), world.workspace()
    token, rotating = world.box(known), world.box(other)
    waiting = instance_secret()
    world.register(other, bearer=rotating, token_sha256=sha256(waiting))
    answers = authenticated_registers.run(
        world.store,
        [
            register_of(known, bearer=token, url="http://box:9"),
            register_of(known, bearer=token),
            register_of(other, bearer=waiting),
            register_of(other, bearer=token),
            register_of(known, bearer=token, token_sha256=sha256(instance_secret())),
            register_of(known),
        ],
    )
    assert [answer is not None for answer in answers] == [True] + [False] * 5
    assert world.registration(known).url == "http://box:9"
    assert world.token_of(known, token).token.first_use_time is not None
    assert world.token_of(other, waiting).token.first_use_time is None
