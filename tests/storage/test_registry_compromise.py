"""What was stolen opens nothing, and neither does anything that a thief may have made with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.refusal import SharedReason
from agentworkspace.core.secret import Secret
from agentworkspace.service import store_faults as faults
from registry_service.commands import read_revocations
from registry_service.commands.read_revocations import ReadRevocations
from registry_service.commands.register import RegisterRefused
from registry_service.domain.standing import Fence
from registry_service.domain.tokens import RevokeReason, TokenKind
from tests.storage.registry_world import (
    ACME,
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


def test_a_compromised_token_takes_the_successor_that_a_thief_made_along(world: World) -> None:
    workspace_id = world.workspace()
    box, thief = world.box(workspace_id), new_secret(TokenKind.INSTANCE)
    world.register(workspace_id, bearer=box, token_sha256=sha256(thief))
    stolen = world.token_of(workspace_id, box).token.token_id
    receipt = world.revoke(workspace_id, stolen, reason=COMPROMISED)
    assert world.live_instances(workspace_id) == []
    assert heard(world, receipt.revision - 2) == {sha256(box), sha256(thief)}
    for token in (box, thief):
        assert world.refused(workspace_id, bearer=token) == (6, SharedReason.BEARER_REJECTED)


def test_a_compromised_successor_takes_the_token_it_was_made_with_along(world: World) -> None:
    workspace_id = world.workspace()
    box, thief = world.box(workspace_id), new_secret(TokenKind.INSTANCE)
    made = world.register(workspace_id, bearer=box, token_sha256=sha256(thief)).token
    world.revoke(workspace_id, made.token_id, reason=COMPROMISED)
    assert world.live_instances(workspace_id) == []
    assert world.refused(workspace_id, bearer=box) == (6, SharedReason.BEARER_REJECTED)


def test_a_compromised_api_token_takes_what_its_holder_made_with_it_along(world: World) -> None:
    workspace_id = world.workspace()
    api = world.first_token(workspace_id)
    stolen = world.token_of(workspace_id, api).token
    box = world.box(workspace_id, bearer=api)
    heir = world.rotate(workspace_id, stolen.token_id, caller=None, bearer=api).plaintext
    assert heir is not None
    second = world.token_of(workspace_id, heir).token
    world.revoke(workspace_id, second.token_id, reason=COMPROMISED)
    assert reason_for(world, workspace_id, box) is None
    third = world.mint(workspace_id).plaintext
    assert third is not None
    assert world.tokens(workspace_id)[0].token.token_sha256 == sha256(third)


def test_an_api_token_that_an_operator_made_of_a_stolen_one_lives_on(world: World) -> None:
    workspace_id = world.workspace()
    api = world.first_token(workspace_id)
    old = world.token_of(workspace_id, api).token
    box = world.box(workspace_id, bearer=api)
    fresh = world.rotate(workspace_id, old.token_id, overlap=faults.COME_BACK_AFTER * 3600)
    world.revoke(workspace_id, old.token_id, reason=COMPROMISED)
    assert [item.token.token_id for item in world.tokens(workspace_id)] == [fresh.token.token_id]
    assert reason_for(world, workspace_id, box) is COMPROMISED


def test_a_token_that_turns_out_stolen_after_it_was_revoked_opens_nothing(world: World) -> None:
    workspace_id = world.workspace()
    box = world.box(workspace_id)
    token_id = world.token_of(workspace_id, box).token.token_id
    world.revoke(workspace_id, token_id)
    receipt = world.revoke(workspace_id, token_id, reason=COMPROMISED)
    assert receipt.already_revoked
    assert world.refused(workspace_id, bearer=box) == (6, SharedReason.BEARER_REJECTED)
    assert world.registration(workspace_id).fence is Fence.COMPROMISED


def test_an_earlier_launch_that_turns_out_stolen_does_not_end_the_running_box(
    world: World,
) -> None:
    workspace_id = world.workspace()
    old = world.box(workspace_id)
    box = world.box(workspace_id, ticket=world.ticket(workspace_id))
    stolen = world.token_of(workspace_id, old).token.token_id
    world.revoke(workspace_id, stolen, reason=COMPROMISED)
    assert world.register(workspace_id, bearer=box).line == 1
    assert world.registration(workspace_id).fence is None
    assert world.refused(workspace_id, bearer=old) == (6, SharedReason.BEARER_REJECTED)


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
