"""The tokens that callers present all day, as lean as they can be read: one statement, no
transaction around it, no column that a check does not look at.

It answers for instance and api tokens that are live and were used before. Of any other there is
no row here, and who asks reads it as everybody else does, in `standings`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.service.prepared import Prepared, bytea_array
from registry_service.domain.principal import Principal
from registry_service.domain.tokens import TokenKind

# Its plan is kept, so it must be a lookup by key however small the tables were: OFFSET 0 keeps
# the planner from reading all workspaces, and num_nonnulls() from reading all unrevoked tokens.
# The feed's row comes first, and alone carries moment and revision: one parse instead of many.
KNOWN: Final = Prepared(
    "known",
    """
SELECT clock_timestamp() AS now, revision, NULL::bytea, NULL::text, NULL::text, NULL::text,
       NULL::text, NULL::text[], NULL::bigint, NULL::timestamptz, NULL::boolean, NULL::bigint
FROM registry.feed
UNION ALL
SELECT NULL, NULL, t.token_sha256, t.token_id::text, t.workspace_id::text, w.tenant_id, t.kind,
       t.scopes, t.incarnation, t.expire_time, NOT t.unproven, w.incarnation
FROM registry.tokens t CROSS JOIN LATERAL (
    SELECT tenant_id, incarnation FROM registry.workspaces
    WHERE workspace_id = t.workspace_id AND retire_time IS NULL OFFSET 0
) w
WHERE t.token_sha256 = ANY(%(hashes)s::bytea[]) AND t.kind NOT IN ('TICKET', 'PROXY')
    AND t.first_use_time IS NOT NULL AND num_nonnulls(t.revoke_time) = 0
    AND (t.expire_time IS NULL OR t.expire_time > clock_timestamp())
""",
)


_KIND: Final = {kind.value: kind for kind in TokenKind}
# As `Principal(...)`, without the Python that names its fields: a batch makes up to 1000.
_principal: Final = partial(tuple.__new__, Principal)


class Checked(NamedTuple):
    """`revision` of the feed and `now` belong to the same snapshot."""

    now: datetime
    revision: int
    by_hash: dict[bytes, Principal]
    # Of the workspaces that the tokens belong to, the incarnation begun last.
    newest: dict[WorkspaceId, int]


def known(tx: Connection, hashes: Iterable[bytes]) -> Checked:
    """Which of these are live and were used before; never a ticket or a proxy token."""
    return checked(KNOWN.run(tx, parameters(hashes)).all())


def parameters(hashes: Iterable[bytes]) -> dict[str, str]:
    """What the statement KNOWN is asked with."""
    return {"hashes": bytea_array(hashes)}


def checked(rows: Sequence[Any]) -> Checked:
    """What the rows of KNOWN say."""
    head = rows[0]
    by_hash: dict[bytes, Principal] = {}
    newest: dict[WorkspaceId, int] = {}
    for row in rows[1:]:
        (_, _, digest, token_id, workspace, tenant_id, kind, scopes, incarnation, expires, backed,
         last) = row  # fmt: skip
        by_hash[bytes(digest)] = _principal(
            (
                *(workspace, tenant_id, token_id, _KIND[kind], _sorted(scopes)),
                *(incarnation, expires, backed),
            )
        )
        newest[workspace] = last
    return Checked(head[0], head[1], by_hash, newest)


def _sorted(scopes: list[str]) -> tuple[str, ...]:
    return tuple(scopes if len(scopes) < 2 else sorted(scopes))
