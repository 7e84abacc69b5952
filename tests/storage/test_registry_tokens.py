"""Minting, rotating, revoking and validating tokens on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import NoReturn

import pytest

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.core.secret import Secret
from registry_service.commands import list_tokens, mint_tokens_batch, validate_tokens, who_am_i
from registry_service.commands.issued import Delivery, Issued
from registry_service.commands.list_tokens import ListTokens
from registry_service.commands.validate_tokens import Rejection, ValidatedTokens, ValidateToken
from registry_service.commands.who_am_i import WhoAmI
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.principal import Principal
from registry_service.domain.refusals import Reason
from registry_service.domain.tokens import RevokeReason, TokenKind
from registry_service.storage import checks
from tests.storage.registry_world import (
    CONFINED,
    HOUR,
    OPERATOR,
    World,
    mint_of,
    new_request_id,
    new_secret,
    new_token_id,
    new_workspace_id,
    reason_of,
    sha256,
    world_at,
)


@pytest.fixture(scope="module")
def world(registry_database_of_module: str) -> Iterator[World]:
    with world_at(registry_database_of_module) as world:
        yield world


def plaintext(issued: Issued) -> Secret:
    assert issued.plaintext is not None
    return issued.plaintext


# MintToken


def test_a_minted_token_validates_with_its_scopes_until_it_expires(world: World) -> None:
    workspace_id = world.workspace()
    issued = world.mint(workspace_id, scopes=("b", "a"), ttl=HOUR, label="ci")
    token = issued.token
    assert (issued.delivery, token.label, token.incarnation) == (Delivery.ENCLOSED, "ci", 0)
    assert token.prefix == plaintext(issued).reveal()[4:12]
    principal = world.validate(plaintext(issued), workspace_id)
    assert isinstance(principal, Principal)
    assert principal.scopes == ("a", "b")
    assert principal.expire_time == token.create_time + HOUR
    world.expire(workspace_id, TokenKind.API)
    assert world.validate(plaintext(issued), workspace_id) is Rejection.TOKEN_INVALID


def test_a_replay_replaces_a_server_made_secret_while_it_was_never_used(world: World) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    lost = world.mint(workspace_id, request_id=request_id)
    again = world.mint(workspace_id, request_id=request_id)
    assert again.delivery is Delivery.ENCLOSED
    assert again.token.token_id != lost.token.token_id
    assert world.validate(plaintext(lost)) is Rejection.TOKEN_INVALID
    assert isinstance(world.validate(plaintext(again)), Principal)
    third = world.mint(workspace_id, request_id=request_id)
    assert (third.delivery, third.plaintext) == (Delivery.ALREADY_DELIVERED, None)
    assert third.token.token_id == again.token.token_id


def test_a_replay_with_a_client_made_secret_gets_the_same_answer(world: World) -> None:
    workspace_id, secret = world.workspace(), new_secret(TokenKind.API)
    request_id, digest = new_request_id(), sha256(secret)
    first = world.mint(workspace_id, request_id=request_id, token_sha256=digest)
    for again in (request_id, new_request_id()):
        replay = world.mint(workspace_id, request_id=again, token_sha256=digest)
        assert replay.token.token_id == first.token.token_id
        assert (replay.delivery, replay.plaintext) == (Delivery.CALLER_MADE, None)
    assert len(world.tokens(workspace_id, dead=True)) == 1


def test_a_token_revoked_meanwhile_is_not_revived_by_a_replay(world: World) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    token = world.mint(workspace_id, request_id=request_id).token
    world.revoke(workspace_id, token.token_id)
    replay = world.mint(workspace_id, request_id=request_id)
    assert replay.delivery is Delivery.ALREADY_DELIVERED
    assert world.tokens(workspace_id) == ()


def test_other_parameters_under_the_same_request_id_are_refused(world: World) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    world.mint(workspace_id, request_id=request_id, label="one")
    reason = reason_of(lambda: world.mint(workspace_id, request_id=request_id, label="two"))
    assert reason is SharedReason.REQUEST_ID_REUSED


def test_a_hash_used_for_something_else_is_refused_even_after_its_revocation(
    world: World,
) -> None:
    workspace_id, digest = world.workspace(), sha256(new_secret(TokenKind.API))
    token = world.mint(workspace_id, token_sha256=digest).token
    world.revoke(workspace_id, token.token_id)
    other = world.workspace()
    for call in (
        lambda: world.mint(other, token_sha256=digest),
        lambda: world.mint(workspace_id, token_sha256=digest, label="other"),
        lambda: world.begin(workspace_id, ticket_sha256=digest),
    ):
        assert reason_of(call) is SharedReason.TOKEN_HASH_IN_USE


def test_an_instance_token_is_minted_by_hand_only_when_no_box_could_hold_one(
    world: World,
) -> None:
    workspace_id = world.workspace()
    issued = world.mint(workspace_id, kind=TokenKind.INSTANCE)
    assert world.register(workspace_id, bearer=plaintext(issued)).line == AdmissionLine.LIVE_TOKEN

    def once_more() -> object:
        return world.mint(workspace_id, kind=TokenKind.INSTANCE)

    assert reason_of(once_more) is Reason.INSTANCE_TOKEN_EXISTS
    world.begin(workspace_id)
    assert reason_of(once_more) is Reason.INSTANCE_TOKEN_EXISTS


def test_minting_needs_a_workspace_in_service_and_of_the_callers_tenant(world: World) -> None:
    unknown = new_workspace_id()
    assert reason_of(lambda: world.mint(unknown)) is SharedReason.WORKSPACE_UNKNOWN
    workspace_id = world.workspace()
    reason = reason_of(lambda: world.mint(workspace_id, caller=CONFINED))
    assert reason is SharedReason.TENANT_FORBIDDEN


# MintToken, many at once


def test_a_batch_mints_in_one_go_and_each_item_fails_for_itself(world: World) -> None:
    workspace_id, other = world.workspace(), world.workspace()
    request_id, digest = new_request_id(), sha256(new_secret(TokenKind.API))
    known = world.mint(workspace_id).token.token_sha256
    commands = [
        mint_of(workspace_id, scopes=("x:read", "a"), label="one", ttl=HOUR),
        mint_of(other, token_sha256=digest, request_id=request_id),
        mint_of(other, token_sha256=digest, request_id=request_id),
        mint_of(workspace_id, token_sha256=digest),
        mint_of(workspace_id, token_sha256=known),
        mint_of(new_workspace_id()),
        mint_of(workspace_id, caller=CONFINED),
        mint_of(workspace_id, kind=TokenKind.INSTANCE),
    ]
    answers = mint_tokens_batch.run(world.store, commands, new_secret=new_secret)
    kinds = [item.reason if isinstance(item, Refusal) else type(item) for item in answers]
    assert kinds == [
        Issued,
        Issued,
        Issued,
        SharedReason.TOKEN_HASH_IN_USE,
        SharedReason.TOKEN_HASH_IN_USE,
        SharedReason.WORKSPACE_UNKNOWN,
        SharedReason.TENANT_FORBIDDEN,
        Issued,
    ]
    first, second, third = answers[:3]
    assert isinstance(first, Issued)
    assert isinstance(second, Issued)
    assert isinstance(third, Issued)
    assert third.token.token_id == second.token.token_id
    principal = world.validate(plaintext(first), workspace_id)
    assert isinstance(principal, Principal)
    assert principal.scopes == ("a", "x:read")
    assert principal.expire_time == first.token.create_time + HOUR
    replay = world.mint(other, token_sha256=digest, request_id=request_id)
    assert replay.token.token_id == second.token.token_id


# RotateToken


def test_rotation_ends_the_old_token_and_keeps_label_scopes_and_lifetime(world: World) -> None:
    workspace_id = world.workspace()
    old = world.mint(workspace_id, label="ci", scopes=("a",), ttl=HOUR)
    new = world.rotate(workspace_id, old.token.token_id)
    assert world.validate(plaintext(old)) is Rejection.TOKEN_INVALID
    principal = world.validate(plaintext(new), workspace_id)
    assert isinstance(principal, Principal)
    assert (new.token.label, principal.scopes) == ("ci", ("a",))
    assert new.token.expire_time == old.token.expire_time


def test_with_an_overlap_both_are_accepted_until_it_ends(world: World) -> None:
    workspace_id = world.workspace()
    old = world.mint(workspace_id)
    new = world.rotate(workspace_id, old.token.token_id, overlap=HOUR)
    assert isinstance(world.validate(plaintext(new)), Principal)
    principal = world.validate(plaintext(old))
    assert isinstance(principal, Principal)
    assert principal.expire_time == new.token.create_time + HOUR
    again = world.rotate(workspace_id, old.token.token_id)
    assert again.token.expire_time is None


def test_an_api_token_rotates_itself_and_may_ask_again_for_a_lost_answer(world: World) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    old = world.mint(workspace_id)
    own = {"caller": None, "bearer": plaintext(old), "request_id": request_id}
    lost = world.rotate(workspace_id, old.token.token_id, **own)
    again = world.rotate(workspace_id, old.token.token_id, **own)
    assert world.validate(plaintext(lost)) is Rejection.TOKEN_INVALID
    assert isinstance(world.validate(plaintext(again)), Principal)
    final = world.rotate(workspace_id, old.token.token_id, **own)
    assert final.delivery is Delivery.ALREADY_DELIVERED
    own["request_id"] = new_request_id()
    reason = reason_of(lambda: world.rotate(workspace_id, old.token.token_id, **own))
    assert reason is SharedReason.CREDENTIAL_REJECTED


def test_a_token_rotates_nothing_but_itself(world: World) -> None:
    workspace_id = world.workspace()
    token, other = world.mint(workspace_id), world.mint(workspace_id)
    own = {"caller": None, "bearer": plaintext(token)}
    reason = reason_of(lambda: world.rotate(workspace_id, other.token.token_id, **own))
    assert reason is SharedReason.ROLE_REQUIRED
    own["bearer"] = Secret("stranger")
    reason = reason_of(lambda: world.rotate(workspace_id, token.token.token_id, **own))
    assert reason is SharedReason.CREDENTIAL_REJECTED


def test_only_live_api_tokens_rotate(world: World) -> None:
    workspace_id = world.workspace()
    box = world.register(workspace_id).token
    dead = world.mint(workspace_id).token
    world.revoke(workspace_id, dead.token_id)
    for token_id, reason in (
        (box.token_id, Reason.TOKEN_KIND),
        (dead.token_id, Reason.TOKEN_NOT_LIVE),
        (new_token_id(), Reason.TOKEN_UNKNOWN),
    ):
        assert reason_of(lambda: world.rotate(workspace_id, token_id)) is reason  # noqa: B023


# RevokeToken


def test_a_revoked_token_is_refused_and_the_first_reason_stands(world: World) -> None:
    workspace_id = world.workspace()
    issued = world.mint(workspace_id)
    receipt = world.revoke(workspace_id, issued.token.token_id, note="left")
    assert world.validate(plaintext(issued)) is Rejection.TOKEN_INVALID
    again = world.revoke(workspace_id, issued.token.token_id, note="right")
    assert (receipt.already_revoked, again.already_revoked) == (False, True)
    assert again.revision >= receipt.revision
    (listed,) = world.tokens(workspace_id, dead=True)
    assert (listed.token.revoke_reason, listed.revoke_note) == (RevokeReason.OPERATOR, "left")
    assert world.registration(workspace_id).fences == ()


def test_a_token_may_revoke_itself_and_no_other(world: World) -> None:
    workspace_id = world.workspace()
    issued, other = world.mint(workspace_id), world.mint(workspace_id)
    own = {"caller": None, "bearer": plaintext(issued)}

    def revoke(**fields: object) -> object:
        return world.revoke(workspace_id, issued.token.token_id, **(own | fields))

    assert reason_of(lambda: revoke(bearer=plaintext(other))) is SharedReason.ROLE_REQUIRED
    assert reason_of(lambda: revoke(bearer=Secret("x"))) is SharedReason.CREDENTIAL_REJECTED
    revoke(reason=RevokeReason.COMPROMISED)
    assert world.validate(plaintext(issued)) is Rejection.TOKEN_INVALID


def test_revoking_what_is_not_there_is_refused(world: World) -> None:
    workspace_id, unknown = world.workspace(), new_token_id()
    reason = reason_of(lambda: world.revoke(workspace_id, unknown))
    assert reason is Reason.TOKEN_UNKNOWN
    reason = reason_of(lambda: world.revoke(new_workspace_id(), unknown))
    assert reason is SharedReason.WORKSPACE_UNKNOWN
    reason = reason_of(lambda: world.revoke(workspace_id, unknown, caller=CONFINED))
    assert reason is SharedReason.TENANT_FORBIDDEN


def test_a_compromise_takes_along_what_was_minted_with_the_token(world: World) -> None:
    workspace_id, thief = world.workspace(), new_secret(TokenKind.INSTANCE)
    stolen = world.box(workspace_id)
    world.register(workspace_id, bearer=stolen, token_sha256=sha256(thief))
    token_id = world.token_of(workspace_id, stolen).token.token_id
    world.revoke(workspace_id, token_id, reason=RevokeReason.COMPROMISED)
    assert world.validate(thief) is Rejection.TOKEN_INVALID


def test_revoking_a_workspaces_tokens_names_kinds_and_counts(world: World) -> None:
    workspace_id = world.workspace()
    api = world.mint(workspace_id)
    ticket = world.ticket(workspace_id)
    box = world.box(workspace_id, ticket=ticket)
    only = world.revoke_all(
        workspace_id, RevokeReason.OPERATOR, kinds=frozenset({TokenKind.INSTANCE})
    )
    assert only.revoked_count == 1
    assert world.validate(box) is Rejection.TOKEN_INVALID
    assert isinstance(world.validate(plaintext(api)), Principal)
    assert world.revoke_all(workspace_id, RevokeReason.OPERATOR).revoked_count == 1
    again = world.revoke_all(workspace_id, RevokeReason.OPERATOR)
    assert (again.revoked_count, again.revision >= only.revision) == (0, True)
    void = world.revoke_all(
        workspace_id, RevokeReason.OPERATOR, kinds=frozenset({TokenKind.TICKET})
    )
    assert void.revoked_count == 1
    assert world.refused(workspace_id, ticket=ticket) == (
        AdmissionLine.TICKET_NEEDED,
        Reason.TICKET_REQUIRED,
    )


@pytest.mark.parametrize("first", [RevokeReason.SUSPENDED, RevokeReason.COMPROMISED])
def test_two_fences_stand_beside_each_other_and_the_suspension_answers(
    world: World, first: RevokeReason
) -> None:
    workspace_id = world.workspace()
    world.revoke_all(workspace_id, first)
    assert world.registration(workspace_id).fences == (first.value,)
    world.revoke_all(workspace_id, RevokeReason.SUSPENDED)
    world.revoke_all(workspace_id, RevokeReason.COMPROMISED)
    assert world.registration(workspace_id).fences == ("SUSPENDED", "COMPROMISED")
    assert world.refused(workspace_id) == (AdmissionLine.FENCED, SharedReason.WORKSPACE_SUSPENDED)
    assert reason_of(lambda: world.begin(workspace_id)) is SharedReason.WORKSPACE_SUSPENDED
    world.begin(workspace_id, lift_suspension=True)
    assert world.registration(workspace_id).fences == ()


# ValidateToken and WhoAmI


def test_many_questions_are_answered_in_order_from_one_snapshot(world: World) -> None:
    workspace_id, other = world.workspace(), world.workspace()
    api = plaintext(world.mint(workspace_id, scopes=("a",)))
    ticket = world.ticket(other)

    def ask(token: Secret, **fields: object) -> ValidateToken:
        defaults = {"caller": OPERATOR, "token": token, "workspace_id": None}
        return ValidateToken(**(defaults | fields))  # type: ignore[arg-type]

    result = validate_tokens.run(
        world.store,
        [
            ask(api),
            ask(api, workspace_id=other),
            ask(api, required_kind=TokenKind.INSTANCE),
            ask(api, required_scopes=frozenset({"b"})),
            ask(api, caller=CONFINED),
            ask(Secret("awa_junk")),
            ask(Secret("")),
            ask(ticket),
        ],
    )
    first, *rest = result.answers
    assert isinstance(first, Principal)
    assert rest == [
        Rejection.TOKEN_INVALID,
        Rejection.TOKEN_KIND,
        Rejection.TOKEN_SCOPE,
        *[Rejection.TOKEN_INVALID] * 4,
    ]


def test_what_a_line_did_not_know_is_looked_at_as_a_whole_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace_id = world.workspace()
    used, new, dead = (plaintext(world.mint(workspace_id)) for _ in range(3))
    world.validate(used)
    world.revoke(workspace_id, world.token_of(workspace_id, dead).token.token_id)

    def known(*_: object) -> NoReturn:
        raise AssertionError("the tokens in daily use were asked again")

    monkeypatch.setattr(checks, "known", known)
    questions = [
        ValidateToken(caller=OPERATOR, token=each, workspace_id=None)
        for each in (used, new, dead, Secret("nobody's"))
    ]
    found = validate_tokens.run(world.store, questions, known_first=False)
    each = validate_tokens.run_each(world.store, questions, known_first=False)
    assert [type(answer) for answer in found.answers[:2]] == [Principal, Principal]
    assert list(found.answers[2:]) == [Rejection.TOKEN_INVALID, Rejection.TOKEN_INVALID]
    assert [one.answers[0] for one in each if isinstance(one, ValidatedTokens)] == list(
        found.answers
    )


def test_first_use_is_written_before_the_answer_and_not_for_a_foreign_workspace(
    world: World,
) -> None:
    workspace_id, other = world.workspace(), world.workspace()
    secret = plaintext(world.mint(workspace_id))
    world.validate(secret, other)
    assert world.token_of(workspace_id, secret).token.first_use_time is None
    world.validate(secret, workspace_id)
    assert world.token_of(workspace_id, secret).token.first_use_time is not None


def test_who_am_i_names_the_principal_of_any_live_token(world: World) -> None:
    workspace_id = world.workspace()
    secret = plaintext(world.mint(workspace_id))
    assert who_am_i.run(world.store, WhoAmI(bearer=secret)).principal.workspace_id == workspace_id
    assert reason_of(lambda: who_am_i.run(world.store, WhoAmI(bearer=None))) is (
        Reason.BEARER_MISSING
    )
    for bearer in (Secret("stranger"), Secret("awi_junk"), world.ticket(workspace_id)):
        reason = reason_of(lambda: who_am_i.run(world.store, WhoAmI(bearer=bearer)))  # noqa: B023
        assert reason is SharedReason.BEARER_REJECTED


# ListTokens


def test_tokens_are_listed_newest_first_page_by_page(world: World) -> None:
    workspace_id = world.workspace()
    minted = [world.mint(workspace_id).token.token_id for _ in range(5)]
    seen: list[str] = []
    command = ListTokens(caller=OPERATOR, workspace_id=workspace_id, page_size=2)
    page_token = ""
    for size in (2, 2, 1):
        page = list_tokens.run(
            world.store,
            ListTokens(
                caller=OPERATOR, workspace_id=workspace_id, page_size=2, page_token=page_token
            ),
        )
        assert len(page.rows) == size
        seen += [item.token.token_id for item in page.rows]
        page_token = page.next_page_token
    assert (seen, page_token) == (minted[::-1], "")
    foreign = list_tokens.run(world.store, command).next_page_token
    other = world.workspace()
    for bad in (foreign, "!", "AAAA", foreign[:-2]):
        wanted = ListTokens(caller=OPERATOR, workspace_id=other, page_token=bad)
        reason = reason_of(lambda: list_tokens.run(world.store, wanted))  # noqa: B023
        assert reason is SharedReason.INVALID_REQUEST


def test_expired_and_revoked_tokens_are_listed_on_request_and_tickets_never(
    world: World,
) -> None:
    workspace_id = world.workspace()
    world.begin(workspace_id)
    world.mint(workspace_id, ttl=timedelta(hours=1))
    world.expire(workspace_id, TokenKind.API)
    assert world.tokens(workspace_id) == ()
    assert len(world.tokens(workspace_id, dead=True)) == 1
