"""The feed of revocations and the audit: what follows a change, and in which order."""

from __future__ import annotations

import select
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from agentworkspace.core.ids import TokenId, WorkspaceId
from agentworkspace.core.refusal import SharedReason
from agentworkspace.service.audit import listing
from agentworkspace.service.audit.listing import ListAuditEvents
from agentworkspace.service.database_url import connection_parameters
from registry_service.commands import read_revocations, validate_tokens
from registry_service.commands.read_revocations import ReadRevocations, Revocations
from registry_service.commands.validate_tokens import ValidateToken
from registry_service.domain.tokens import RevokeReason, TokenKind
from registry_service.storage import feed
from registry_service.storage.schema import AUDIT
from registry_service.workers import sweep
from registry_service.workers.sweep import Sweep
from tests.storage.registry_world import (
    CONFINED,
    OPERATOR,
    World,
    all_at_once,
    new_request_id,
    new_secret,
    new_token_id,
    reason_of,
    sha256,
    world_at,
)


@pytest.fixture
def world(registry_database: str) -> Iterator[World]:
    with world_at(registry_database) as world:
        yield world


def feed_after(world: World, revision: int, limit: int = 1000) -> Revocations:
    return read_revocations.run(world.store, ReadRevocations(after_revision=revision, limit=limit))


def test_every_way_a_token_ends_is_in_the_feed(world: World) -> None:
    workspace_id = world.workspace()
    api = world.mint(workspace_id).token
    heir = world.rotate(workspace_id, api.token_id).token
    world.revoke(workspace_id, heir.token_id)
    box = world.box(workspace_id)
    new = new_secret(TokenKind.INSTANCE)
    world.register(workspace_id, bearer=box, token_sha256=sha256(new))
    world.validate(new)
    world.begin(workspace_id)
    world.mint(workspace_id)
    world.revoke_all(workspace_id, RevokeReason.SUSPENDED)
    events = feed_after(world, 0).events
    assert [event.revision for event in events] == [1, 2, 3, 4, 5]
    assert [(event.token_sha256, event.workspace_id, event.reason) for event in events] == [
        (api.token_sha256, None, RevokeReason.ROTATED),
        (heir.token_sha256, None, RevokeReason.OPERATOR),
        (sha256(box), None, RevokeReason.ROTATED),
        (None, workspace_id, RevokeReason.RELAUNCHED),
        (None, workspace_id, RevokeReason.SUSPENDED),
    ]


def test_an_overlap_is_in_the_feed_so_that_caches_learn_of_the_end(world: World) -> None:
    workspace_id = world.workspace()
    api = world.mint(workspace_id).token
    world.rotate(workspace_id, api.token_id, overlap=timedelta(hours=1))
    (event,) = feed_after(world, 0).events
    assert event.token_sha256 == api.token_sha256


def test_a_receipt_names_the_revision_that_carries_the_revocation(world: World) -> None:
    workspace_id = world.workspace()
    token = world.mint(workspace_id).token
    receipt = world.revoke(workspace_id, token.token_id)
    (event,) = feed_after(world, receipt.revision - 1).events
    assert event.token_sha256 == token.token_sha256
    question = ValidateToken(caller=OPERATOR, token=new_secret(TokenKind.API), workspace_id=None)
    assert validate_tokens.run(world.store, [question]).revision == receipt.revision


def test_revisions_follow_commits_under_concurrency(world: World) -> None:
    """Whoever reads the feed never sees a revision appear below one that it saw before."""
    workspaces = [world.workspace() for _ in range(8)]
    tokens = [
        (workspace_id, world.mint(workspace_id).token.token_id)
        for workspace_id in workspaces
        for _ in range(8)
    ]
    seen: list[int] = []
    gaps: list[tuple[int, list[int]]] = []

    def watch() -> None:
        while len(seen) < len(tokens):
            after = seen[-1] if seen else 0
            events = feed_after(world, after).events
            revisions = [event.revision for event in events]
            if revisions and revisions != list(range(after + 1, after + 1 + len(revisions))):
                gaps.append((after, revisions))
            seen.extend(revisions)

    def revoke(mine: list[tuple[WorkspaceId, TokenId]]) -> None:
        for workspace_id, token_id in mine:
            world.revoke(workspace_id, token_id)

    shares = [partial(revoke, list(tokens[start::6])) for start in range(6)]
    assert all_at_once([watch, *shares]) == [None] * 7
    assert (gaps, len(seen)) == ([], len(tokens))


def test_listeners_are_told_after_the_commit(world: World, registry_database: str) -> None:
    parameters = connection_parameters(registry_database)
    listener = psycopg2.connect(make_dsn(**parameters))
    try:
        listener.autocommit = True
        listener.cursor().execute(f"LISTEN {feed.CHANNEL}")
        workspace_id = world.workspace()
        receipt = world.revoke(workspace_id, world.mint(workspace_id).token.token_id)
        assert select.select([listener], [], [], 10)[0]
        listener.poll()
        assert [note.payload for note in listener.notifies] == [str(receipt.revision)]
    finally:
        listener.close()


def test_a_reader_that_is_too_far_behind_or_ahead_must_start_anew(world: World) -> None:
    workspace_id = world.workspace()
    for _ in range(3):
        world.revoke(workspace_id, world.mint(workspace_id).token.token_id)
    world.sql(
        "UPDATE registry.revocations SET create_time = create_time - interval '8 days'"
        " WHERE revision < 3"
    )
    assert sweep.run(world.store, Sweep()).revocations == 2
    assert feed_after(world, 1).reset
    assert not feed_after(world, 2).reset
    assert [event.revision for event in feed_after(world, 2).events] == [3]
    assert feed_after(world, 4).reset
    assert not feed_after(world, 3).reset


def test_a_page_of_the_feed_holds_the_oldest_first(world: World) -> None:
    workspace_id = world.workspace()
    for _ in range(3):
        world.revoke(workspace_id, world.mint(workspace_id).token.token_id)
    page = feed_after(world, 0, limit=2)
    assert ([event.revision for event in page.events], page.revision) == ([1, 2], 3)


def test_request_ids_are_kept_for_a_day(world: World) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    world.mint(workspace_id, request_id=request_id, label="one")
    world.sql("UPDATE registry.requests SET create_time = create_time - interval '25 hours'")
    fresh = world.mint(workspace_id, request_id=request_id, label="two")
    assert fresh.token.label == "two"
    assert sweep.run(world.store, Sweep()).requests == 0
    world.sql("UPDATE registry.requests SET create_time = create_time - interval '25 hours'")
    assert sweep.run(world.store, Sweep()).requests == 1


# Audit


def audited(world: World, **fields: object) -> list[tuple[str, str, str]]:
    command = ListAuditEvents(**({"caller": OPERATOR} | fields))  # type: ignore[arg-type]
    page = listing.run(world.store, AUDIT, command)
    return [(event.actor, event.action, event.subject) for event in page.rows]


def test_every_change_is_audited_in_its_transaction(world: World) -> None:
    workspace_id = world.workspace()
    api = world.mint(workspace_id).token
    heir = world.rotate(workspace_id, api.token_id).token
    world.revoke(workspace_id, heir.token_id, reason=RevokeReason.COMPROMISED, note="leak")
    world.revoke_all(workspace_id, RevokeReason.SUSPENDED)
    ticket = world.ticket(workspace_id, lift_suspension=True)
    world.register(workspace_id, ticket=ticket)
    proxy, box = world.tokens(workspace_id, proxy=True)
    actions = audited(world, workspace_id=workspace_id)[::-1]
    assert [(actor, action) for actor, action, _ in actions] == [
        ("operator", "workspace.admitted"),
        ("operator", "token.minted"),
        ("operator", "token.rotated"),
        ("operator", "token.revoked"),
        ("operator", "workspace.fenced"),
        ("operator", "incarnation.begun"),
        (f"workspace:{workspace_id}", "token.minted"),
        (f"workspace:{workspace_id}", "token.minted"),
    ]
    assert actions[1][2] == api.token_id
    assert {subject for _, _, subject in actions[-2:]} == {
        box.token.token_id,
        proxy.token.token_id,
    }
    command = ListAuditEvents(caller=OPERATOR, action="token.revoked")
    (event,) = listing.run(world.store, AUDIT, command).rows
    assert event.details == {"kind": "API", "reason": "COMPROMISED", "note": "leak"}
    assert (event.method, event.correlation_id, event.tenant_id) == (
        "/test/Method",
        "c-1",
        "acme",
    )


def test_a_refused_change_is_not_audited(world: World) -> None:
    workspace_id = world.workspace()
    before = audited(world)
    reason_of(lambda: world.mint(workspace_id, caller=CONFINED))
    reason_of(lambda: world.revoke(workspace_id, new_token_id()))
    assert audited(world) == before


def test_audit_events_are_paged_and_kept_to_the_callers_tenants(world: World) -> None:
    for _ in range(3):
        world.workspace()
    assert audited(world, caller=CONFINED) == []
    reason = reason_of(lambda: audited(world, caller=CONFINED, tenant_id="acme"))
    assert reason is SharedReason.TENANT_FORBIDDEN
    seen: list[str] = []
    page_token = ""
    for _ in range(2):
        command = ListAuditEvents(caller=OPERATOR, page_size=2, page_token=page_token)
        page = listing.run(world.store, AUDIT, command)
        seen += [event.event_id for event in page.rows]
        page_token = page.next_page_token
    assert (len(set(seen)), page_token) == (3, "")


def test_no_secret_and_no_hash_is_ever_audited(world: World) -> None:
    workspace_id = world.workspace()
    api = world.first_token(workspace_id)
    ticket = world.ticket(workspace_id)
    box = world.box(workspace_id, ticket=ticket)
    world.revoke_all(workspace_id, RevokeReason.OPERATOR)
    text = "".join(
        row[0]
        for table in ("audit_events", "requests")
        for row in world.sql(f"SELECT t::text FROM registry.{table} t")  # noqa: S608
    )
    for secret in (api, ticket, box):
        assert secret.reveal() not in text
        assert secret.reveal()[4:47] not in text
    # A request keeps the digest of its parameters, never the hash of a token itself.
    assert sha256(box).hex() not in text
