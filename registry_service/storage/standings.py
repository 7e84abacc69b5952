"""Everything that decides about evidence, read in one statement each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from agentworkspace.core.ids import TenantId, WorkspaceId
from registry_service.domain.standing import Fence, Workspace
from registry_service.domain.tokens import Token, TokenKind
from registry_service.storage import tokens
from registry_service.storage.prepared import Prepared, bytea_array

_SNAPSHOT: Final = Prepared(
    "snapshot",
    f"""
SELECT clock_timestamp() AS now, known.*, found.*
FROM (VALUES (1)) AS always (one)
LEFT JOIN (
    SELECT workspace_id AS known_id, tenant_id, incarnation AS newest, registered_incarnation,
           ticket_required, fence, retire_time
    FROM registry.workspaces WHERE workspace_id = %(workspace_id)s::uuid
) known ON true
LEFT JOIN (
    SELECT 'hash' AS part, {tokens.columns("t")} FROM registry.tokens t
    WHERE t.token_sha256 = ANY(%(hashes)s::bytea[])
    UNION ALL
    SELECT 'unrevoked', {tokens.columns("t")} FROM registry.tokens t
    WHERE t.workspace_id = %(workspace_id)s::uuid AND t.kind IN ('INSTANCE', 'TICKET')
        AND t.revoke_time IS NULL
    UNION ALL
    (SELECT 'of_ticket', {tokens.columns("minted")} FROM registry.tokens ticket
     JOIN registry.tokens minted ON minted.minted_on = ticket.token_id
     WHERE ticket.token_sha256 = %(ticket_sha256)s::bytea AND minted.kind = 'INSTANCE'
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
           w.tenant_id, w.incarnation AS newest, w.registered_incarnation, w.ticket_required,
           w.fence, w.retire_time
    FROM registry.tokens t JOIN registry.workspaces w USING (workspace_id)
    WHERE t.token_sha256 = ANY(%(hashes)s::bytea[])
) found ON true
""",  # noqa: S608 - only names of columns are put in
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One workspace and the tokens that matter to somebody who presents these hashes."""

    now: datetime
    workspace: Workspace | None
    # By hash, of any workspace.
    presented: dict[bytes, Token]
    live_instance_tokens: tuple[Token, ...]
    current_ticket: Token | None
    # The instance token minted last on the presented ticket; one that is not revoked first.
    ticket_token: Token | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """A token that was presented, and its workspace."""

    token: Token
    workspace: Workspace

    def is_live(self, now: datetime) -> bool:
        return not self.workspace.retired and self.token.is_live(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearers:
    """`revision` of the feed and `now` belong to the same snapshot."""

    now: datetime
    revision: int
    by_hash: dict[bytes, Bearer]


def snapshot(
    connection: Connection,
    workspace_id: WorkspaceId,
    *,
    hashes: Sequence[bytes],
    ticket_sha256: bytes | None,
) -> Snapshot:
    """`hashes`: of everything presented or asked for, the ticket's too."""
    parameters = {
        "workspace_id": workspace_id,
        "hashes": bytea_array(hashes),
        "ticket_sha256": ticket_sha256,
    }
    rows = _SNAPSHOT.run(connection, parameters).all()
    parts: dict[str, list[Token]] = {"hash": [], "unrevoked": [], "of_ticket": []}
    for row in rows:
        if row.part is not None:
            parts[row.part].append(tokens.to_token(row))
    tickets = [token for token in parts["unrevoked"] if token.kind is TokenKind.TICKET]
    first = rows[0]
    return Snapshot(
        now=first.now,
        workspace=None if first.known_id is None else _workspace(workspace_id, first),
        presented={token.token_sha256: token for token in parts["hash"]},
        live_instance_tokens=tuple(
            token
            for token in parts["unrevoked"]
            if token.kind is TokenKind.INSTANCE and token.is_live(first.now)
        ),
        current_ticket=max(
            tickets, key=lambda ticket: (ticket.incarnation, ticket.create_time), default=None
        ),
        ticket_token=next(iter(parts["of_ticket"]), None),
    )


def bearers(connection: Connection, hashes: Sequence[bytes]) -> Bearers:
    """Whom these belong to: one statement, however many."""
    rows = _BEARERS.run(connection, {"hashes": bytea_array(hashes)}).all()
    found = (_bearer(row) for row in rows if row.token_id is not None)
    return Bearers(
        now=rows[0].now,
        revision=rows[0].revision,
        by_hash={bearer.token.token_sha256: bearer for bearer in found},
    )


def _bearer(row: Any) -> Bearer:
    token = tokens.to_token(row)
    return Bearer(token=token, workspace=_workspace(token.workspace_id, row))


def _workspace(workspace_id: WorkspaceId, row: Any) -> Workspace:
    return Workspace(
        workspace_id=workspace_id,
        tenant_id=TenantId(row.tenant_id),
        # `incarnation` is the token's in these rows.
        incarnation=row.newest,
        registered_incarnation=row.registered_incarnation,
        ticket_required=row.ticket_required,
        fence=Fence(row.fence) if row.fence else None,
        retired=row.retire_time is not None,
    )
