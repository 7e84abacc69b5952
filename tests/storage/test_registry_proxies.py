"""The proxy token of an incarnation: accepted exactly while a box of it is in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from agentworkspace.core.ids import TokenId, WorkspaceId
from agentworkspace.core.refusal import SharedReason
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_proxy_token
from registry_service.commands import read_revocations, retire_workspace
from registry_service.commands.read_revocations import ReadRevocations
from registry_service.commands.retire_workspace import RetireWorkspace
from registry_service.commands.validate_tokens import Rejection
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.principal import Principal
from registry_service.domain.tokens import RevokeReason, TokenKind
from tests.storage.registry_world import (
    OPERATOR,
    ORIGIN,
    World,
    new_secret,
    reason_of,
    sha256,
    world_at,
)


@pytest.fixture
def world(registry_database: str) -> Iterator[World]:
    with world_at(registry_database) as world:
        yield world


class Launched:
    """A box that came by its ticket, and the proxy token that comes of that ticket."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.workspace_id: WorkspaceId = world.workspace()
        self.ticket = world.ticket(self.workspace_id)
        self.proxy = derive_proxy_token(self.ticket, self.workspace_id, 1)
        self.box = world.box(self.workspace_id, ticket=self.ticket)

    def pays(self) -> bool:
        answer = self.world.validate(self.proxy, self.workspace_id, required_kind=TokenKind.PROXY)
        assert isinstance(answer, Principal) or answer is Rejection.TOKEN_INVALID
        return isinstance(answer, Principal)

    def token_id(self, secret: Secret) -> TokenId:
        return self.world.token_of(self.workspace_id, secret).token.token_id


@pytest.fixture
def launched(world: World) -> Launched:
    return Launched(world)


def heard(world: World, secret: Secret, after: int) -> bool:
    news = read_revocations.run(world.store, ReadRevocations(after_revision=after))
    return any(event.token_sha256 == sha256(secret) for event in news.events)


def newest(world: World) -> int:
    return read_revocations.run(world.store, ReadRevocations(after_revision=0)).revision


def test_it_names_workspace_tenant_and_incarnation(world: World, launched: Launched) -> None:
    answer = world.validate(launched.proxy, required_kind=TokenKind.PROXY)
    assert isinstance(answer, Principal)
    assert (answer.workspace_id, answer.tenant_id) == (launched.workspace_id, "acme")
    assert (answer.kind, answer.incarnation) == (TokenKind.PROXY, 1)
    assert (answer.evidence_backed, answer.expire_time) == (True, None)


def test_nobody_pays_before_the_box_is_in(world: World) -> None:
    workspace_id = world.workspace()
    proxy = derive_proxy_token(world.ticket(workspace_id), workspace_id, 1)
    answer = world.validate(proxy, required_kind=TokenKind.PROXY)
    assert answer is Rejection.TOKEN_INVALID


def test_it_rests_while_its_box_is_out_and_works_when_it_is_let_in_again(
    world: World, launched: Launched
) -> None:
    assert launched.pays()
    before = newest(world)
    world.revoke(launched.workspace_id, launched.token_id(launched.box))
    assert not launched.pays()
    assert heard(world, launched.proxy, before)
    world.box(launched.workspace_id, ticket=launched.ticket)
    assert launched.pays()


def test_it_goes_with_a_box_that_leaves_and_with_a_new_launch(
    world: World, launched: Launched
) -> None:
    before = newest(world)
    world.deregister(launched.workspace_id, launched.box)
    assert heard(world, launched.proxy, before)
    assert not launched.pays()
    world.register(launched.workspace_id, ticket=launched.ticket)
    assert launched.pays()
    world.begin(launched.workspace_id)
    assert not launched.pays()


def test_a_rotation_keeps_it_and_tells_of_it(world: World, launched: Launched) -> None:
    fresh = new_secret(TokenKind.INSTANCE)
    world.register(launched.workspace_id, bearer=launched.box, token_sha256=sha256(fresh))
    before = newest(world)
    world.heartbeat(launched.workspace_id, fresh)
    assert heard(world, launched.proxy, before)
    assert launched.pays()


@pytest.mark.parametrize("reason", [RevokeReason.COMPROMISED, RevokeReason.SUSPENDED])
def test_a_fence_ends_it_for_good(world: World, launched: Launched, reason: RevokeReason) -> None:
    world.revoke_all(launched.workspace_id, reason)
    (proxy,) = [
        item.token
        for item in world.tokens(launched.workspace_id, dead=True, proxy=True)
        if item.token.kind is TokenKind.PROXY
    ]
    assert proxy.revoke_reason is reason


def test_one_that_was_taken_itself_does_not_come_back_with_its_box(
    world: World, launched: Launched
) -> None:
    before = newest(world)
    world.revoke_text(launched.proxy)
    assert heard(world, launched.proxy, before)
    world.revoke(launched.workspace_id, launched.token_id(launched.box))
    world.register(launched.workspace_id, ticket=launched.ticket)
    assert not launched.pays()
    assert world.registration(launched.workspace_id).fences == ()


def test_a_stolen_one_takes_nothing_along(world: World, launched: Launched) -> None:
    world.revoke_text(launched.proxy, reason=RevokeReason.COMPROMISED)
    assert not launched.pays()
    answer = world.register(launched.workspace_id, bearer=launched.box)
    assert answer.line is AdmissionLine.LIVE_TOKEN


def test_a_retirement_ends_it_and_counts_it_for_nothing(world: World, launched: Launched) -> None:
    command = RetireWorkspace(origin=ORIGIN, caller=OPERATOR, workspace_id=launched.workspace_id)
    assert retire_workspace.run(world.store, command).revoked_count == 1
    assert not launched.pays()


def test_it_ends_with_the_last_box_that_bears_it(world: World) -> None:
    workspace_id = world.workspace()
    ticket = world.ticket(workspace_id)
    proxy = derive_proxy_token(ticket, workspace_id, 1)
    box = world.box(workspace_id, ticket=ticket)
    world.revoke(workspace_id, world.token_of(workspace_id, box).token.token_id)
    made = world.mint(workspace_id, kind=TokenKind.INSTANCE, ttl=timedelta(hours=1))
    answer = world.validate(proxy, required_kind=TokenKind.PROXY)
    assert isinstance(answer, Principal)
    assert answer.expire_time == made.token.expire_time


def test_a_ticket_of_another_make_and_lines_without_one_have_none(world: World) -> None:
    workspace_id, ticket = world.workspace(), Secret("a ticket of another make")
    world.begin(workspace_id, ticket_sha256=sha256(ticket))
    world.register(workspace_id, ticket=ticket)
    world.register(world.workspace())
    rows = world.sql("SELECT count(*) FROM registry.tokens WHERE kind = 'PROXY'")
    assert rows == [(0,)]


def test_a_box_of_a_time_before_proxies_gets_one_when_it_comes_back(
    world: World, launched: Launched
) -> None:
    world.sql("DELETE FROM registry.tokens WHERE kind = 'PROXY'")
    world.heartbeat(launched.workspace_id, launched.box)
    world.revoke(launched.workspace_id, launched.token_id(launched.box))
    world.register(launched.workspace_id, ticket=launched.ticket)
    assert launched.pays()


def test_nobody_registers_with_its_hash(world: World) -> None:
    workspace_id = world.workspace()
    ticket = world.ticket(workspace_id)
    proxy = derive_proxy_token(ticket, workspace_id, 1)
    taken_hash = sha256(proxy)
    assert world.refused(workspace_id, ticket=ticket, token_sha256=taken_hash) == (
        AdmissionLine.TICKET,
        SharedReason.TOKEN_HASH_IN_USE,
    )
    assert world.register(workspace_id, ticket=ticket).line is AdmissionLine.TICKET
    taken = reason_of(lambda: world.mint(workspace_id, token_sha256=sha256(proxy)))
    assert taken is SharedReason.TOKEN_HASH_IN_USE


def test_it_is_listed_where_it_is_asked_for(world: World, launched: Launched) -> None:
    kinds = [item.token.kind for item in world.tokens(launched.workspace_id)]
    assert kinds == [TokenKind.INSTANCE]
    kinds = [item.token.kind for item in world.tokens(launched.workspace_id, proxy=True)]
    assert sorted(kinds) == [TokenKind.INSTANCE, TokenKind.PROXY]
