"""Writes uses of tokens. A first use decides things, so only one transaction can write it; later
ones are only informative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from agentworkspace.core.ids import TokenId
from agentworkspace.service.prepared import array

_STATES: Final = """
SELECT token_id, revoke_time IS NOT NULL AS revoked, first_use_time IS NOT NULL AS used
FROM registry.tokens WHERE token_id = ANY(%(token_ids)s::uuid[])
"""
# Either this writes the first use, or another transaction revokes the token as never used; never
# both.
_FIRST_USE: Final = """
UPDATE registry.tokens t SET first_use_time = %(now)s, last_use_time = %(now)s
FROM (
    SELECT token_id FROM registry.tokens
    WHERE token_id = ANY(%(token_ids)s::uuid[])
    ORDER BY token_id FOR UPDATE
) locked
WHERE t.token_id = locked.token_id AND t.first_use_time IS NULL AND t.revoke_time IS NULL
RETURNING t.token_id
"""
_FIRST_USE_IF_FREE: Final = _FIRST_USE.replace("FOR UPDATE", "FOR UPDATE SKIP LOCKED")
_LAST_USES: Final = """
UPDATE registry.tokens t SET last_use_time = greatest(t.last_use_time, used.time)
FROM (
    SELECT token_id FROM registry.tokens
    WHERE token_id = ANY(%(token_ids)s::uuid[])
    ORDER BY token_id FOR UPDATE SKIP LOCKED
) locked
JOIN unnest(%(token_ids)s::uuid[], %(times)s::timestamptz[]) AS used (token_id, time)
    USING (token_id)
WHERE t.token_id = locked.token_id
RETURNING t.token_id
"""
_REDEEM: Final = """
UPDATE registry.tokens SET first_use_time = %(now)s, last_use_time = %(now)s
WHERE token_id = %(token_id)s AND first_use_time IS NULL AND revoke_time IS NULL
RETURNING token_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstUses:
    # Tokens whose first use this was. Those in none of the three sets were used before.
    marked: frozenset[TokenId]
    # Tokens that were revoked before.
    dead: frozenset[TokenId] = frozenset()
    # Tokens that another transaction holds, which may be about to replace them; empty if `patient`.
    busy: frozenset[TokenId] = frozenset()


def mark_first_use(
    tx: Connection, token_ids: Sequence[TokenId], now: datetime, *, patient: bool = True
) -> FirstUses:
    """Write the first use of those that were never used. `patient` waits for tokens that another
    transaction holds.
    """
    parameters = {"token_ids": list(token_ids), "now": now}
    statement = _FIRST_USE if patient else _FIRST_USE_IF_FREE
    marked = _ids(tx.exec_driver_sql(statement, parameters))
    missed = [token_id for token_id in token_ids if token_id not in marked]
    if not missed:
        return FirstUses(marked=marked)
    states = tx.exec_driver_sql(_STATES, {"token_ids": missed}).all()
    return FirstUses(
        marked=marked,
        dead=_ids(row for row in states if row.revoked),
        busy=_ids(row for row in states if not row.revoked and not row.used),
    )


def redeem(tx: Connection, ticket_id: TokenId, now: datetime) -> bool:
    """Write a ticket's first use. False when it was redeemed or voided before."""
    parameters = {"token_id": ticket_id, "now": now}
    return tx.exec_driver_sql(_REDEEM, parameters).one_or_none() is not None


def write_last_uses(tx: Connection, uses: Mapping[TokenId, datetime]) -> frozenset[TokenId]:
    """Returns those that were written; another transaction holds the others."""
    parameters = {"token_ids": array(uses), "times": array(uses.values())}
    rows = tx.exec_driver_sql(_LAST_USES, parameters)
    return _ids(rows)


def _ids(rows: Iterable[Any]) -> frozenset[TokenId]:
    return frozenset(TokenId(str(row.token_id)) for row in rows)
