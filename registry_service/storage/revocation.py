"""Ends tokens. The caller publishes in the feed what ended, in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from agentworkspace.core.ids import TokenId, WorkspaceId
from registry_service.domain.tokens import RevokeReason, Token, TokenKind
from registry_service.storage.tokens import to_token

_REVOKE: Final = """
UPDATE registry.tokens t
SET revoke_time = %(now)s, revoke_reason = %(reason)s, revoke_note = %(note)s
FROM (
    SELECT token_id FROM registry.tokens
    WHERE token_id = ANY(%(token_ids)s::uuid[])
    ORDER BY token_id FOR UPDATE
) locked
WHERE t.token_id = locked.token_id AND t.revoke_time IS NULL
    AND (t.first_use_time IS NULL OR NOT %(only_unused)s)
RETURNING t.*
"""
_REVOKE_KINDS: Final = """
UPDATE registry.tokens t
SET revoke_time = %(now)s, revoke_reason = %(reason)s, revoke_note = %(note)s
FROM (
    SELECT token_id FROM registry.tokens
    WHERE workspace_id = %(workspace_id)s AND kind = ANY(%(kinds)s::text[])
        AND revoke_time IS NULL
    ORDER BY token_id FOR UPDATE
) locked
WHERE t.token_id = locked.token_id AND t.revoke_time IS NULL
RETURNING t.*
"""
# Also changes the reason of tokens that are revoked already as OPERATOR or RELAUNCHED, which would
# let their holder in again.
_SUPERSEDE: Final = """
UPDATE registry.tokens t
SET revoke_time = coalesce(t.revoke_time, %(now)s), revoke_reason = 'ROTATED'
FROM (SELECT token_id, revoke_time IS NULL AS unrevoked FROM registry.tokens
      WHERE token_id = %(token_id)s FOR UPDATE) locked
WHERE t.token_id = locked.token_id
    AND coalesce(t.revoke_reason, 'OPERATOR') IN ('OPERATOR', 'RELAUNCHED')
RETURNING t.*, locked.unrevoked
"""
# All other instance tokens up to this incarnation that are accepted, or would let anybody in again.
_REPLACE: Final = """
UPDATE registry.tokens t
SET revoke_time = coalesce(t.revoke_time, %(now)s), revoke_reason = 'ROTATED'
FROM (SELECT token_id, revoke_time IS NULL AS unrevoked FROM registry.tokens
      WHERE workspace_id = %(workspace_id)s AND kind = 'INSTANCE'
          AND incarnation <= %(up_to)s AND token_id <> ALL(%(spared)s::uuid[])
          AND coalesce(revoke_reason, 'OPERATOR') IN ('OPERATOR', 'RELAUNCHED')
      ORDER BY token_id FOR UPDATE) locked
WHERE t.token_id = locked.token_id
RETURNING t.*, locked.unrevoked
"""
_CONDEMN: Final = """
UPDATE registry.tokens t
SET revoke_time = coalesce(t.revoke_time, %(now)s), revoke_reason = 'COMPROMISED',
    revoke_note = %(note)s
FROM (SELECT token_id, revoke_time IS NULL AS unrevoked FROM registry.tokens
      WHERE token_id = ANY(%(token_ids)s::uuid[]) ORDER BY token_id FOR UPDATE) locked
WHERE t.token_id = locked.token_id AND t.revoke_reason IS DISTINCT FROM 'COMPROMISED'
RETURNING t.*, locked.unrevoked
"""
# Those of these hashes that are instance tokens', each with its incarnation's proxy token.
_PROXIES: Final = """
SELECT box.token_sha256 AS of, proxy.token_sha256 AS proxy
FROM registry.tokens box JOIN registry.tokens proxy USING (workspace_id, incarnation)
WHERE box.token_sha256 = ANY(%(hashes)s::bytea[]) AND box.kind = 'INSTANCE'
    AND proxy.kind = 'PROXY' AND proxy.revoke_time IS NULL
"""
_EXPIRE: Final = """
UPDATE registry.tokens SET expire_time = least(expire_time, %(expire_time)s)
WHERE token_id = %(token_id)s
RETURNING *
"""


def revoke(
    tx: Connection,
    token_ids: Sequence[TokenId],
    *,
    reason: RevokeReason,
    now: datetime,
    note: str = "",
    only_unused: bool = False,
) -> list[Token]:
    """Revoke these; returns those that this call revoked. `only_unused` spares tokens that were
    used before.
    """
    parameters = {
        "token_ids": list(token_ids),
        "reason": reason.value,
        "note": note,
        "now": now,
        "only_unused": only_unused,
    }
    return [to_token(row) for row in tx.exec_driver_sql(_REVOKE, parameters)]


def revoke_kinds(
    tx: Connection,
    workspace_id: WorkspaceId,
    kinds: frozenset[TokenKind],
    *,
    reason: RevokeReason,
    now: datetime,
    note: str = "",
) -> list[Token]:
    """Revoke every token of these kinds that is not revoked yet, expired ones too; returns them."""
    parameters = {
        "workspace_id": workspace_id,
        "kinds": sorted(kinds),
        "reason": reason.value,
        "note": note,
        "now": now,
    }
    return [to_token(row) for row in tx.exec_driver_sql(_REVOKE_KINDS, parameters)]


def supersede(tx: Connection, token_id: TokenId, now: datetime) -> Token | None:
    """Revoke a token as ROTATED; returns it if it was not revoked before, else None."""
    row = tx.exec_driver_sql(_SUPERSEDE, {"token_id": token_id, "now": now}).one_or_none()
    return to_token(row) if row and row.unrevoked else None


def replace_others(
    tx: Connection,
    workspace_id: WorkspaceId,
    *,
    up_to: int,
    spared: Sequence[TokenId],
    now: datetime,
) -> list[Token]:
    """Revoke as ROTATED all instance tokens up to this incarnation but those spared. Returns those
    that were not revoked before.
    """
    parameters = {
        "workspace_id": workspace_id,
        "up_to": up_to,
        "spared": list(spared),
        "now": now,
    }
    rows = tx.exec_driver_sql(_REPLACE, parameters)
    return [to_token(row) for row in rows if row.unrevoked]


@dataclass(frozen=True, slots=True)
class Condemned:
    """The tokens that became COMPROMISED, and those among them that were not revoked before."""

    found: list[Token]
    ended: list[Token]


def condemn(tx: Connection, token_ids: Iterable[TokenId], *, now: datetime, note: str) -> Condemned:
    """Revoke these as COMPROMISED, even those that are revoked for another reason."""
    parameters = {"token_ids": sorted(token_ids), "now": now, "note": note}
    rows = [(to_token(row), row.unrevoked) for row in tx.exec_driver_sql(_CONDEMN, parameters)]
    return Condemned(
        found=[token for token, _ in rows], ended=[token for token, fresh in rows if fresh]
    )


def proxies_of(tx: Connection, hashes: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """For each of these hashes that is an instance token's: a pair of it and the hash of the proxy
    token of its incarnation, if that is not revoked.
    """
    rows = tx.exec_driver_sql(_PROXIES, {"hashes": list(hashes)})
    return [(bytes(row.of), bytes(row.proxy)) for row in rows]


def expire_by(tx: Connection, token_id: TokenId, expire_time: datetime) -> Token:
    """Let a token expire at this time, unless it expires earlier; returns it as it is now."""
    parameters = {"token_id": token_id, "expire_time": expire_time}
    return to_token(tx.exec_driver_sql(_EXPIRE, parameters).one())
