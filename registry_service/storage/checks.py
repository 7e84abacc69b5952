"""The quick check of tokens that callers present all day: one statement, no transaction around it,
and no column that a check does not need.

It finds instance and api tokens that are live and were used before. Any other token has to be read
from `standings`, which knows all.
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

# Its plan is kept, so it must be a lookup by key even if it was planned while the tables were
# small: OFFSET 0 keeps the planner from reading all workspaces, and num_nonnulls() from reading all
# unrevoked tokens. Time and revision are only in the feed's row, which comes first, so that they
# are parsed once.
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
# The same as `Principal(...)`, but faster: a batch makes up to 1000.
_principal: Final = partial(tuple.__new__, Principal)


class Checked(NamedTuple):
    """What KNOWN found. `revision` is the feed's, and of the same snapshot as the tokens."""

    now: datetime
    revision: int
    by_hash: dict[bytes, Principal]
    # The newest incarnation of each workspace that one of the tokens belongs to.
    newest: dict[WorkspaceId, int]


def known(tx: Connection, hashes: Iterable[bytes]) -> Checked:
    """Find those of these tokens that are live and were used before, but no proxy tokens."""
    return checked(KNOWN.run(tx, parameters(hashes)).all())


def parameters(hashes: Iterable[bytes]) -> dict[str, str]:
    """The parameters of the statement KNOWN."""
    return {"hashes": bytea_array(hashes)}


def checked(rows: Sequence[Any]) -> Checked:
    """Parse the rows of KNOWN, of which there is at least one."""
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
