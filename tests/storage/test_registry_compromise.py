"""What was stolen opens nothing, and neither does anything that a thief may have made with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.core.secret import Secret
from agentworkspace.service import store_faults as faults
from registry_service.commands import read_revocations
from registry_service.commands.read_revocations import ReadRevocations
from registry_service.commands.register import RegisterRefused
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import Fence
from registry_service.domain.tokens import RevokeReason, TokenKind
from tests.storage.registry_world import (
    ACME,
    CONFINED,
    World,
    new_secret,
    reason_of,
    sha256,
    world_at,
)

COMPROMISED = RevokeReason.COMPROMISED


@pytest.fixture
def world(registry_database: str) -> Iterator[World]:
    with world_at(registry_database) as world:
        yield world


def heard(world: World, after: int) -> set[bytes]:
    news = read_revocations.run(world.store, ReadRevocations(after_revision=after))
    assert {event.tenant_id for event in news.events} == {ACME}
    return {event.token_sha256 for event in news.events if event.token_sha256}


def reason_for(world: World, workspace_id: WorkspaceId, secret: Secret) -> RevokeReason | None:
    return world.token_of(workspace_id, secret).token.revoke_reason


def rotated(world: World, workspace_id: WorkspaceId, old: Secret, **fields: Any) -> Secret:
    token_id = world.token_of(workspace_id, old).token.token_id
    fresh = world.rotate(workspace_id, token_id, **fields).plaintext
    assert fresh is not None
    return fresh


def steal(world: World, workspace_id: WorkspaceId, secret: Secret) -> int:
    """Somebody has it: the revision that says so."""
    token_id = world.token_of(workspace_id, secret).token.token_id
    return world.revoke(workspace_id, token_id, reason=COMPROMISED).revision


def test_a_compromised_token_takes_the_successor_that_a_thief_made_along(world: World) -> None:
    workspace_id = world.workspace()
    box, thief = world.box(workspace_id), new_secret(TokenKind.INSTANCE)
    world.register(workspace_id, bearer=box, token_sha256=sha256(thief))
    revision = steal(world, workspace_id, box)
    assert world.live_instances(workspace_id) == []
    assert heard(world, revision - 2) == {sha256(box), sha256(thief)}
    for token in (box, thief):
        assert reason_for(world, workspace_id, token) is COMPROMISED
        assert world.refused(workspace_id, bearer=token)[0] is AdmissionLine.FENCED


def test_a_compromised_successor_takes_the_token_it_was_made_with_along(world: World) -> None:
    workspace_id = world.workspace()
    box, thief = world.box(workspace_id), new_secret(TokenKind.INSTANCE)
    made = world.register(workspace_id, bearer=box, token_sha256=sha256(thief)).token
    world.revoke(workspace_id, made.token_id, reason=COMPROMISED)
    assert world.live_instances(workspace_id) == []
    assert reason_for(world, workspace_id, box) is COMPROMISED


def test_a_theft_of_the_newest_launch_fences_and_a_launch_lifts_that(world: World) -> None:
    workspace_id = world.workspace()
    box = world.launched(workspace_id)
    steal(world, workspace_id, box)
    assert world.registration(workspace_id).fences == (Fence.COMPROMISED,)
    ticket = world.ticket(workspace_id)
    assert world.registration(workspace_id).fences == ()
    assert world.register(workspace_id, ticket=ticket).line == AdmissionLine.TICKET
    assert world.refused(workspace_id, bearer=box)[0] is AdmissionLine.SUPERSEDED


def test_a_theft_takes_along_what_died_of_an_operator_or_a_launch_and_would_open(
    world: World,
) -> None:
    workspace_id = world.workspace()
    first = world.launched(workspace_id)
    second = world.launched(workspace_id)
    world.begin(workspace_id)
    world.expire(workspace_id, TokenKind.TICKET)
    third = world.mint(workspace_id, kind=TokenKind.INSTANCE)
    assert reason_for(world, workspace_id, second) is RevokeReason.RELAUNCHED
    world.revoke(workspace_id, third.token.token_id, reason=COMPROMISED)
    # The first one was replaced when the second box was let in, and opens nothing anyhow.
    assert reason_for(world, workspace_id, first) is RevokeReason.ROTATED
    assert reason_for(world, workspace_id, second) is COMPROMISED


def test_a_token_that_turns_out_stolen_after_it_was_revoked_opens_nothing(world: World) -> None:
    workspace_id = world.workspace()
    box = world.launched(workspace_id)
    token_id = world.token_of(workspace_id, box).token.token_id
    world.revoke(workspace_id, token_id)
    receipt = world.revoke(workspace_id, token_id, reason=COMPROMISED)
    assert (receipt.already_revoked, receipt.token_id) == (True, token_id)
    assert reason_for(world, workspace_id, box) is COMPROMISED
    assert world.registration(workspace_id).fences == (Fence.COMPROMISED,)


def test_an_earlier_launch_that_turns_out_stolen_does_not_end_the_running_box(
    world: World,
) -> None:
    workspace_id = world.workspace()
    old = world.box(workspace_id)
    box = world.launched(workspace_id)
    steal(world, workspace_id, old)
    assert world.register(workspace_id, bearer=box).line == AdmissionLine.LIVE_TOKEN
    assert world.registration(workspace_id).fences == ()
    assert reason_for(world, workspace_id, old) is COMPROMISED


def test_an_earlier_launch_that_turns_out_stolen_leaves_the_newest_ticket_alone(
    world: World,
) -> None:
    workspace_id = world.workspace()
    old = world.launched(workspace_id)
    ticket = world.ticket(workspace_id)
    steal(world, workspace_id, old)
    assert world.refused(workspace_id, bearer=old)[0] is AdmissionLine.COMPROMISED
    assert world.register(workspace_id, ticket=ticket).line == AdmissionLine.TICKET


class TestAnApiToken:
    def test_takes_its_rotations_along_either_way_and_no_other(self, world: World) -> None:
        workspace_id = world.workspace()
        first = world.first_token(workspace_id)
        second = rotated(world, workspace_id, first, overlap=timedelta(hours=1))
        third = rotated(world, workspace_id, second, caller=None, bearer=second)
        apart = world.first_token(workspace_id)
        steal(world, workspace_id, third)
        living = {item.token.token_sha256 for item in world.tokens(workspace_id)}
        assert living == {sha256(apart)}
        assert reason_for(world, workspace_id, first) is COMPROMISED

    def test_takes_along_what_was_registered_with_it_and_fences_nothing(self, world: World) -> None:
        workspace_id = world.workspace()
        api = world.first_token(workspace_id)
        box, successor = world.box(workspace_id, bearer=api), new_secret(TokenKind.INSTANCE)
        world.register(workspace_id, bearer=box, token_sha256=sha256(successor))
        heir = rotated(world, workspace_id, api, overlap=timedelta(hours=1))
        revision = steal(world, workspace_id, heir)
        for token in (api, heir, box, successor):
            assert reason_for(world, workspace_id, token) is COMPROMISED
        assert heard(world, revision - 4) == set(map(sha256, (api, heir, box, successor)))
        assert world.registration(workspace_id).fences == ()
        fresh = world.first_token(workspace_id)
        assert world.register(workspace_id, bearer=fresh).line == AdmissionLine.API_TOKEN

    def test_leaves_a_box_alone_that_came_by_its_ticket(self, world: World) -> None:
        workspace_id = world.workspace()
        api = world.first_token(workspace_id)
        box = world.launched(workspace_id)
        own: dict[str, Any] = {"caller": None, "bearer": api}
        token_id = world.token_of(workspace_id, api).token.token_id
        world.revoke(workspace_id, token_id, reason=COMPROMISED, **own)
        assert world.register(workspace_id, bearer=box).line == AdmissionLine.LIVE_TOKEN
        assert world.registration(workspace_id).fences == ()


class TestAWorkspace:
    def test_of_all_its_tokens_is_fenced_and_api_tokens_end_too(self, world: World) -> None:
        workspace_id = world.workspace()
        api, box = world.first_token(workspace_id), world.launched(workspace_id)
        assert world.revoke_all(workspace_id, COMPROMISED).revoked_count == 2
        assert world.tokens(workspace_id) == ()
        assert reason_for(world, workspace_id, api) is COMPROMISED
        assert reason_for(world, workspace_id, box) is COMPROMISED
        assert world.registration(workspace_id).fences == (Fence.COMPROMISED,)

    def test_of_api_tokens_alone_is_not_fenced(self, world: World) -> None:
        workspace_id = world.workspace()
        api = world.first_token(workspace_id)
        box = world.launched(workspace_id)
        kinds = frozenset({TokenKind.API})
        assert world.revoke_all(workspace_id, COMPROMISED, kinds=kinds).revoked_count == 1
        assert reason_for(world, workspace_id, api) is COMPROMISED
        assert world.register(workspace_id, bearer=box).line == AdmissionLine.LIVE_TOKEN
        assert world.registration(workspace_id).fences == ()

    def test_of_instance_tokens_keeps_its_api_tokens(self, world: World) -> None:
        workspace_id = world.workspace()
        api = world.first_token(workspace_id)
        ticket = world.ticket(workspace_id)
        kinds = frozenset({TokenKind.INSTANCE})
        assert world.revoke_all(workspace_id, COMPROMISED, kinds=kinds).revoked_count == 0
        assert reason_for(world, workspace_id, api) is None
        assert world.refused(workspace_id, ticket=ticket)[0] is AdmissionLine.FENCED

    def test_suspended_keeps_its_api_tokens_which_open_nothing(self, world: World) -> None:
        workspace_id = world.workspace()
        api = world.first_token(workspace_id)
        box = world.box(workspace_id, bearer=api)
        assert world.revoke_all(workspace_id, RevokeReason.SUSPENDED).revoked_count == 1
        assert reason_for(world, workspace_id, box) is RevokeReason.SUSPENDED
        assert reason_for(world, workspace_id, api) is None
        for bearer in (api, box):
            assert world.refused(workspace_id, bearer=bearer) == (
                AdmissionLine.FENCED,
                SharedReason.WORKSPACE_SUSPENDED,
            )


class TestByItsOwnText:
    def test_a_token_found_somewhere_is_ended(self, world: World) -> None:
        workspace_id = world.workspace()
        box = world.launched(workspace_id)
        receipt = world.revoke_text(box, reason=COMPROMISED)
        assert receipt.workspace_id == workspace_id
        assert receipt.token_id == world.token_of(workspace_id, box).token.token_id
        assert world.registration(workspace_id).fences == (Fence.COMPROMISED,)

    def test_a_leaked_ticket_is_ended_with_what_it_was_good_for(self, world: World) -> None:
        workspace_id = world.workspace()
        ticket = world.ticket(workspace_id)
        box = world.box(workspace_id, ticket=ticket)
        world.revoke_text(ticket, reason=COMPROMISED)
        assert reason_for(world, workspace_id, box) is COMPROMISED
        world.begin(workspace_id)
        world.expire(workspace_id, TokenKind.TICKET)
        assert world.refused(workspace_id, ticket=ticket)[0] is AdmissionLine.TICKET_NEEDED

    def test_a_ticket_that_an_operator_takes_back_opens_nothing_more(self, world: World) -> None:
        workspace_id = world.workspace()
        ticket = world.ticket(workspace_id)
        box = world.box(workspace_id, ticket=ticket)
        world.heartbeat(workspace_id, box)
        world.revoke_text(ticket)
        assert world.register(workspace_id, bearer=box).line == AdmissionLine.LIVE_TOKEN
        world.revoke_text(box)
        assert world.refused(workspace_id, ticket=ticket)[0] is AdmissionLine.TICKET_NEEDED
        # Shown beside it, even a void newest ticket says that the bearer is to be launched anew.
        shown: dict[str, Any] = {"bearer": box, "ticket": ticket}
        assert world.refused(workspace_id, **shown)[0] is AdmissionLine.TICKET_NEEDED
        assert world.register(workspace_id, bearer=box).line == AdmissionLine.OWN_TOKEN

    def test_what_is_unknown_or_of_another_tenant_is_said_to_be_unknown(self, world: World) -> None:
        workspace_id = world.workspace()
        box, other = world.box(workspace_id), world.workspace()
        asks: list[dict[str, Any]] = [
            {"token": new_secret(TokenKind.INSTANCE)},
            {"token": Secret("awi_junk")},
            {"token": box, "caller": CONFINED},
            {"token": box, "workspace_id": other},
        ]
        for ask in asks:
            token = ask.pop("token")
            with pytest.raises(Refusal) as refused:
                world.revoke_text(token, **ask)
            assert (refused.value.reason, refused.value.metadata) == (Reason.TOKEN_UNKNOWN, {})
        assert reason_for(world, workspace_id, box) is None

    def test_a_token_names_itself_so(self, world: World) -> None:
        workspace_id = world.workspace()
        api, box = world.first_token(workspace_id), world.box(workspace_id)
        own: dict[str, Any] = {"caller": None, "bearer": api}
        reason = reason_of(lambda: world.revoke_text(box, **own))
        assert reason is SharedReason.ROLE_REQUIRED
        world.revoke_text(api, **own)
        assert reason_for(world, workspace_id, api) is RevokeReason.OPERATOR

    def test_the_text_is_written_nowhere(self, world: World) -> None:
        workspace_id = world.workspace()
        box = world.box(workspace_id)
        world.revoke_text(box, reason=COMPROMISED)
        told = world.sql(
            "SELECT details::text, subject, actor FROM registry.audit_events"
            " WHERE workspace_id = %(id)s",
            id=workspace_id,
        )
        assert told
        assert not any(box.reveal() in str(row) for row in told)
        assert not any(sha256(box).hex() in str(row) for row in told)


def test_a_stranger_is_not_told_how_often_a_workspace_was_launched(world: World) -> None:
    workspace_id = world.workspace()
    old = world.box(workspace_id)
    world.ticket(workspace_id)
    told = []
    for bearer in (None, new_secret(TokenKind.INSTANCE), old):
        with pytest.raises(RegisterRefused) as refused:
            world.register(workspace_id, bearer=bearer)
        told.append(refused.value.metadata.get("incarnation"))
    assert told == [None, None, "1"]


def test_a_store_without_its_schema_is_unavailable(empty_database: str) -> None:
    with world_at(empty_database) as world:
        assert reason_of(lambda: faults.attempt(world.workspace)) is SharedReason.STORE_UNAVAILABLE


def test_a_column_that_is_not_there_yet_is_unavailable(world: World) -> None:
    workspace_id = world.workspace()
    world.sql("ALTER TABLE registry.registrations DROP COLUMN runtime_version")
    reason = reason_of(lambda: faults.attempt(lambda: world.box(workspace_id)))
    assert reason is SharedReason.STORE_UNAVAILABLE
    assert world.live_instances(workspace_id) == []
