"""How tokens end. Whatever ends one also publishes it, in the same transaction."""

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
# Dead of something that reopens (or not dead at all) becomes rotated out: it was replaced.
_SUPERSEDE: Final = """
UPDATE registry.tokens t
SET revoke_time = coalesce(t.revoke_time, %(now)s), revoke_reason = 'ROTATED'
FROM (SELECT token_id, revoke_time IS NULL AS unrevoked FROM registry.tokens
      WHERE token_id = %(token_id)s FOR UPDATE) locked
WHERE t.token_id = locked.token_id
    AND coalesce(t.revoke_reason, 'OPERATOR') IN ('OPERATOR', 'RELAUNCHED')
RETURNING t.*, locked.unrevoked
"""
# The others of a box that was let in, up to its incarnation: those that would open something.
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
# Of these hashes those of instance tokens, each with the proxy token of its incarnation.
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
    """Returns those this call revoked. With `only_unused`, one whose first use came first is
    spared.
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
    """Every token of these kinds that is not revoked, expired ones too."""
    parameters = {
        "workspace_id": workspace_id,
        "kinds": sorted(kinds),
        "reason": reason.value,
        "note": note,
        "now": now,
    }
    return [to_token(row) for row in tx.exec_driver_sql(_REVOKE_KINDS, parameters)]


def supersede(tx: Connection, token_id: TokenId, now: datetime) -> Token | None:
    """Mark as rotated out; the token, if it was accepted until now."""
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
    """No other instance token up to this incarnation opens anything any more; those of them that
    were not revoked yet.
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
    """Those found COMPROMISED just now, and those of them that were not revoked before."""

    found: list[Token]
    ended: list[Token]


def condemn(tx: Connection, token_ids: Iterable[TokenId], *, now: datetime, note: str) -> Condemned:
    """End these as COMPROMISED, whatever they were ended for before."""
    parameters = {"token_ids": sorted(token_ids), "now": now, "note": note}
    rows = [(to_token(row), row.unrevoked) for row in tx.exec_driver_sql(_CONDEMN, parameters)]
    return Condemned(
        found=[token for token, _ in rows], ended=[token for token, fresh in rows if fresh]
    )


def proxies_of(tx: Connection, hashes: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Pairs of one of these hashes, if it is an instance token's, and that of its proxy token."""
    rows = tx.exec_driver_sql(_PROXIES, {"hashes": list(hashes)})
    return [(bytes(row.of), bytes(row.proxy)) for row in rows]


def expire_by(tx: Connection, token_id: TokenId, expire_time: datetime) -> Token:
    parameters = {"token_id": token_id, "expire_time": expire_time}
    return to_token(tx.exec_driver_sql(_EXPIRE, parameters).one())
