"""Reads everything that decides about presented tokens, in one statement for many of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.service.prepared import Prepared, array, bytea_array
from registry_service.domain.standing import Workspace
from registry_service.domain.tokens import Token, TokenKind
from registry_service.storage import tokens, workspaces

_SNAPSHOTS: Final = Prepared(
    "snapshots",
    f"""
SELECT clock_timestamp() AS now, shown.place, known.*, found.*
FROM unnest(%(workspace_ids)s::uuid[], %(bearers)s::bytea[], %(tickets)s::bytea[],
            %(wanted)s::bytea[])
    WITH ORDINALITY AS shown (workspace_id, bearer, ticket, wanted, place)
LEFT JOIN LATERAL (
    SELECT workspace_id AS known_id, tenant_id, incarnation AS newest, {workspaces.DECIDING}
    FROM registry.workspaces w WHERE w.workspace_id = shown.workspace_id
) known ON true
LEFT JOIN LATERAL (
    SELECT 'hash' AS part, {tokens.columns("t")} FROM registry.tokens t
    WHERE t.token_sha256 = ANY(ARRAY[shown.bearer, shown.ticket, shown.wanted])
    UNION ALL
    SELECT 'unrevoked', {tokens.columns("t")} FROM registry.tokens t
    WHERE t.workspace_id = shown.workspace_id AND t.kind = 'INSTANCE'
        AND t.revoke_time IS NULL
    UNION ALL
    (SELECT 'current', {tokens.columns("t")} FROM registry.tokens t
     WHERE t.workspace_id = shown.workspace_id AND t.kind = 'TICKET'
     ORDER BY t.incarnation DESC, t.create_time DESC, t.token_id DESC LIMIT 1)
    UNION ALL
    (SELECT 'of_ticket', {tokens.columns("minted")} FROM registry.tokens ticket
     JOIN registry.tokens minted ON minted.minted_on = ticket.token_id
     WHERE ticket.token_sha256 = shown.ticket AND minted.kind = 'INSTANCE'
     ORDER BY minted.revoke_time IS NULL DESC, minted.create_time DESC, minted.token_id DESC
     LIMIT 1)
) found ON true
""",  # noqa: S608 - only names of columns are put in
)
_BEARERS: Final = Prepared(
    "bearers",
    f"""
SELECT clock_timestamp() AS now, feed.revision, found.*
FROM registry.feed LEFT JOIN (
    SELECT {tokens.columns("t")},
           w.tenant_id, w.incarnation AS newest, {workspaces.DECIDING},
           t.kind <> 'PROXY' OR borne.alive AS awake,
           CASE WHEN borne.alive AND NOT borne.endless THEN borne.until END AS awake_until
    FROM registry.tokens t JOIN registry.workspaces w USING (workspace_id)
    -- A proxy token is awake, and accepted, only while its incarnation has a live instance token.
    CROSS JOIN LATERAL (
        SELECT count(*) > 0 AS alive, bool_or(box.expire_time IS NULL) AS endless,
               max(box.expire_time) AS until
        FROM registry.tokens box
        WHERE t.kind = 'PROXY' AND box.workspace_id = t.workspace_id AND box.kind = 'INSTANCE'
            AND box.incarnation = t.incarnation AND box.revoke_time IS NULL
            AND (box.expire_time IS NULL OR box.expire_time > clock_timestamp())
    ) borne
    WHERE t.token_sha256 = ANY(%(hashes)s::bytea[])
) found ON true
""",  # noqa: S608 - only names of columns are put in
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The hashes of what a box presents, and of the secret that it wants as its token."""

    workspace_id: WorkspaceId
    bearer: bytes | None = None
    ticket: bytes | None = None
    wanted: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One workspace and the tokens that matter to somebody who presents these hashes."""

    now: datetime
    workspace: Workspace | None
    # Those of the shown hashes that are known, even of other workspaces.
    presented: dict[bytes, Token]
    live_instance_tokens: tuple[Token, ...]
    # The workspace's newest ticket, void or not.
    current_ticket: Token | None
    # The newest unrevoked instance token minted on the presented ticket; else the newest revoked.
    ticket_token: Token | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """A token that was presented, and its workspace."""

    token: Token
    workspace: Workspace
    # False for a proxy token while no instance token of its incarnation is live.
    awake: bool = True

    def is_live(self, now: datetime) -> bool:
        return self.awake and not self.workspace.retired and self.token.is_live(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearers:
    """The tokens found, by hash. `revision` is the feed's, and of the same snapshot as they are."""

    now: datetime
    revision: int
    by_hash: dict[bytes, Bearer]


def snapshots(tx: Connection, shown: Sequence[Shown]) -> list[Snapshot]:
    """One snapshot for each, in order. It is one statement, however many there are."""
    parameters = {
        "workspace_ids": array(item.workspace_id for item in shown),
        "bearers": bytea_array(item.bearer for item in shown),
        "tickets": bytea_array(item.ticket for item in shown),
        "wanted": bytea_array(item.wanted for item in shown),
    }
    rows: dict[int, list[Any]] = defaultdict(list)
    for row in _SNAPSHOTS.run(tx, parameters):
        rows[row.place].append(row)
    return [_snapshot(item.workspace_id, rows[place]) for place, item in enumerate(shown, 1)]


def _snapshot(workspace_id: WorkspaceId, rows: Sequence[Any]) -> Snapshot:
    parts: dict[str, list[Token]] = {"hash": [], "unrevoked": [], "current": [], "of_ticket": []}
    # Most tokens come in several parts, and are parsed once.
    read: dict[UUID, Token] = {}
    for row in rows:
        if row.part is not None:
            token = read.get(row.token_id) or tokens.to_token(row)
            read[row.token_id] = token
            parts[row.part].append(token)
    first = rows[0]
    return Snapshot(
        now=first.now,
        workspace=None
        if first.known_id is None
        else workspaces.of_row(workspace_id, first, incarnation=first.newest),
        presented={token.token_sha256: token for token in parts["hash"]},
        live_instance_tokens=tuple(
            token for token in parts["unrevoked"] if token.is_live(first.now)
        ),
        current_ticket=next(iter(parts["current"]), None),
        ticket_token=next(iter(parts["of_ticket"]), None),
    )


def bearers(tx: Connection, hashes: Sequence[bytes]) -> Bearers:
    """The tokens with these hashes, and their workspaces. It is one statement, however many."""
    rows = _BEARERS.run(tx, {"hashes": bytea_array(hashes)}).all()
    found = (_bearer(row) for row in rows if row.token_id is not None)
    return Bearers(
        now=rows[0].now,
        revision=rows[0].revision,
        by_hash={bearer.token.token_sha256: bearer for bearer in found},
    )


def _bearer(row: Any) -> Bearer:
    token = tokens.to_token(row)
    if token.kind is TokenKind.PROXY:
        token = replace(token, expire_time=row.awake_until)
    # In these rows `incarnation` is the token's, and `newest` the workspace's.
    workspace = workspaces.of_row(token.workspace_id, row, incarnation=row.newest)
    return Bearer(token=token, workspace=workspace, awake=row.awake)
