"""What `registry-service restored` reads and writes over all workspaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from agentworkspace.core.ids import TokenId, WorkspaceId
from registry_service.domain.tokens import Token
from registry_service.storage import workspaces
from registry_service.storage.pulse import LONGEST_GAP
from registry_service.storage.tokens import to_token
from registry_service.storage.workspaces import Known

_SURVEY: Final = """
SELECT feed.revision, alive.workspaces, token.*,
       greatest(pulse.last_time, (SELECT max(time) FROM registry.audit_events)) AS last_record,
       coalesce(clock_timestamp() - pulse.last_time <= %(longest_gap)s::interval, false) AS serving
FROM registry.feed LEFT JOIN registry.pulse ON true,
LATERAL (
    SELECT count(*) AS workspaces FROM registry.workspaces WHERE retire_time IS NULL
) alive,
LATERAL (
    SELECT count(*) FILTER (WHERE kind = 'INSTANCE') AS instance_tokens,
           count(*) FILTER (WHERE kind = 'TICKET') AS tickets,
           count(*) FILTER (WHERE kind = 'API'
               AND (expire_time IS NULL OR expire_time > clock_timestamp())) AS api_tokens
    FROM registry.tokens WHERE revoke_time IS NULL
) token
"""
_LOCK: Final = """
SELECT locked.*, clock_timestamp() AS now
FROM (SELECT * FROM registry.workspaces
      WHERE %(after)s::uuid IS NULL OR workspace_id > %(after)s::uuid
      ORDER BY workspace_id LIMIT %(limit)s FOR UPDATE) locked
"""
# Includes revoked tokens of boxes that would still let their holder in again, and voided tickets
# that a repeated BeginIncarnation would replace.
_OPENING: Final = """
SELECT token_id FROM registry.tokens
WHERE workspace_id = ANY(%(workspace_ids)s::uuid[])
    AND (revoke_time IS NULL AND (kind <> 'API' OR %(api_tokens)s)
         OR revoke_reason = 'OPERATOR' AND kind <> 'API'
         OR revoke_reason = 'RELAUNCHED' AND kind IN ('INSTANCE', 'PROXY'))
"""
_MARK: Final = """
UPDATE registry.workspaces SET restore_time = clock_timestamp()
WHERE workspace_id = ANY(%(workspace_ids)s::uuid[]) AND retire_time IS NULL
    AND restore_time IS NULL
RETURNING workspace_id
"""
# Sets `changed`, too, because a copied database may have numbers ahead of its own transaction ids.
_FORGET_BOXES: Final = """
UPDATE registry.registrations
SET state = CASE WHEN state IN ('ONLINE', 'DEGRADED') THEN 'OFFLINE' ELSE state END,
    changed = pg_current_xact_id()::text::bigint
WHERE workspace_id = ANY(%(workspace_ids)s::uuid[])
"""
_LIVE_API_TOKENS: Final = """
SELECT t.*, w.tenant_id FROM registry.tokens t JOIN registry.workspaces w USING (workspace_id)
WHERE t.kind = 'API' AND t.revoke_time IS NULL AND w.retire_time IS NULL
    AND (t.expire_time IS NULL OR t.expire_time > clock_timestamp())
    AND (%(token_id)s::uuid IS NULL
         OR (t.workspace_id, t.token_id) > (%(workspace_id)s::uuid, %(token_id)s::uuid))
ORDER BY t.workspace_id, t.token_id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """How much there is to do. `serving`: a registry is running on this database just now."""

    revision: int
    workspaces: int
    instance_tokens: int
    tickets: int
    api_tokens: int
    # None where nothing was ever recorded.
    last_record: datetime | None
    serving: bool


@dataclass(frozen=True, slots=True)
class Held:
    """A live api token, and whose it is."""

    token: Token
    tenant_id: str


def survey(tx: Connection) -> Survey:
    row = tx.exec_driver_sql(_SURVEY, {"longest_gap": LONGEST_GAP}).one()
    return Survey(**{name: getattr(row, name) for name in Survey.__slots__})


def lock_next(tx: Connection, *, after: WorkspaceId | None, limit: int) -> list[Known]:
    """Lock the next workspaces in order of their ids, retired ones too. `after` is the id that was
    done last, or None to begin.
    """
    rows = tx.exec_driver_sql(_LOCK, {"after": after, "limit": limit})
    return [workspaces.known_of(row) for row in rows]


def opening(
    tx: Connection, workspace_ids: Sequence[WorkspaceId], *, api_tokens: bool
) -> list[TokenId]:
    """Every ticket and token of these workspaces that may let anybody in; api tokens only if asked
    for.
    """
    parameters = {"workspace_ids": list(workspace_ids), "api_tokens": api_tokens}
    rows = tx.exec_driver_sql(_OPENING, parameters)
    return [TokenId(str(row.token_id)) for row in rows]


def mark(tx: Connection, workspace_ids: Sequence[WorkspaceId]) -> frozenset[WorkspaceId]:
    """Mark these workspaces as restored, and their boxes as OFFLINE. Returns those that were not
    marked before.
    """
    parameters = {"workspace_ids": list(workspace_ids)}
    tx.exec_driver_sql(_FORGET_BOXES, parameters)
    rows = tx.exec_driver_sql(_MARK, parameters)
    return frozenset(WorkspaceId(str(row.workspace_id)) for row in rows)


def live_api_tokens(tx: Connection, *, behind: Token | None, limit: int) -> list[Held]:
    """A page of all live api tokens, in order of workspace and token, from behind this one on."""
    parameters = {
        "workspace_id": behind.workspace_id if behind else None,
        "token_id": behind.token_id if behind else None,
        "limit": limit,
    }
    rows = tx.exec_driver_sql(_LIVE_API_TOKENS, parameters)
    return [Held(to_token(row), row.tenant_id) for row in rows]
