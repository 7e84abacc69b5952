"""The tokens that callers present all day, as lean as they can be read: one statement, no
transaction around it, no column that a check does not look at.

It answers for tokens that are live and were used before. Of any other there is no row here, and
who asks reads it as everybody else does, in `standings`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection

from registry_service.domain.identifiers import TenantId, TokenId, WorkspaceId
from registry_service.domain.tokens import TokenKind

# OFFSET 0 keeps the planner from reading all workspaces when there seem to be few.
# The feed's row comes first, and alone carries moment and revision: one parse instead of many.
_KNOWN: Final = """
SELECT clock_timestamp() AS now, revision, NULL::bytea, NULL::text, NULL::text, NULL::text,
       NULL::text, NULL::text[], NULL::bigint, NULL::timestamptz, NULL::bigint
FROM registry.feed
UNION ALL
SELECT NULL, NULL, t.token_sha256, t.token_id::text, t.workspace_id::text, w.tenant_id, t.kind,
       t.scopes, t.incarnation, t.expire_time, w.incarnation
FROM registry.tokens t CROSS JOIN LATERAL (
    SELECT tenant_id, incarnation FROM registry.workspaces
    WHERE workspace_id = t.workspace_id AND retire_time IS NULL OFFSET 0
) w
WHERE t.token_sha256 = ANY(%(hashes)s::bytea[]) AND t.kind <> 'TICKET'
    AND t.first_use_time IS NOT NULL AND t.revoke_time IS NULL
    AND (t.expire_time IS NULL OR t.expire_time > clock_timestamp())
"""


_KIND: Final = {kind.value: kind for kind in TokenKind}


class Known(NamedTuple):
    """A live token that was used before. A tuple: hundreds are made for one batch."""

    token_id: TokenId
    workspace_id: WorkspaceId
    tenant_id: TenantId
    kind: TokenKind
    # Sorted.
    scopes: tuple[str, ...]
    incarnation: int
    expire_time: datetime | None
    # The workspace's newest incarnation.
    newest: int


class Checked(NamedTuple):
    """`revision` of the feed and `now` belong to the same snapshot."""

    now: datetime
    revision: int
    by_hash: dict[bytes, Known]


def known(connection: Connection, hashes: Iterable[bytes]) -> Checked:
    """Those of these that are live and were used before; never a ticket."""
    rows = connection.exec_driver_sql(_KNOWN, {"hashes": bytea_array(hashes)}).all()
    head = rows[0]
    by_hash: dict[bytes, Known] = {}
    for row in rows[1:]:
        _, _, digest, token_id, workspace_id, tenant_id, kind, scopes, *rest = row
        by_hash[bytes(digest)] = Known(
            token_id, workspace_id, tenant_id, _KIND[kind], tuple(sorted(scopes)), *rest
        )
    return Checked(head[0], head[1], by_hash)


def bytea_array(values: Iterable[bytes]) -> str:
    """As PostgreSQL writes one: a single text to bind, where a list costs one for each."""
    return "{" + ",".join(['"\\\\x' + value.hex() + '"' for value in values]) + "}"
