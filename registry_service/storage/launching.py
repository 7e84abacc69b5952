"""Begins many launches in one statement: the fast path of BeginIncarnation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection

from agentworkspace.core.ids import RequestId, TenantId, WorkspaceId
from agentworkspace.service.prepared import Prepared, array, arrays_of
from registry_service.domain.tokens import Token
from registry_service.storage import tokens, workspaces
from registry_service.storage.workspaces import Known

# Skips a workspace if another transaction holds its row or its registration, so that nothing is
# waited for. Registrations are locked here because `_BEGIN` writes them in no particular order.
_LOCK: Final = Prepared(
    "lock_for_launching",
    """
SELECT locked.*, clock_timestamp() AS now
FROM (
    SELECT w.workspace_id, w.tenant_id, w.incarnation, w.registered_incarnation,
           w.ticket_required, w.evidence_required, w.fence, w.compromised, w.box_left,
           w.retire_time
    FROM registry.workspaces w JOIN registry.registrations r USING (workspace_id)
    WHERE w.workspace_id = ANY(%(workspace_ids)s::uuid[])
    ORDER BY w.workspace_id FOR UPDATE OF w, r SKIP LOCKED
) locked
""",
)
# Returns no row for a request that was answered before, or whose hash is known. Hashes are written
# in order, so that two batches with common ones cannot deadlock.
_BEGIN: Final = Prepared(
    "begin",
    f"""
WITH wanted AS MATERIALIZED (
    SELECT item.* FROM unnest(
        %(workspace_id)s::uuid[], %(tenant_id)s::text[], %(minimum)s::bigint[],
        %(token_sha256)s::bytea[], %(prefix)s::text[], %(client_made)s::boolean[],
        %(ttl)s::interval[], %(lifted)s::text[], %(request_id)s::uuid[], %(caller)s::text[],
        %(digest)s::bytea[], %(now)s::timestamptz[], %(actor)s::text[], %(method)s::text[],
        %(correlation_id)s::text[]
    ) AS item (
        workspace_id, tenant_id, minimum, token_sha256, prefix, client_made, ttl, lifted,
        request_id, caller, digest, now, actor, method, correlation_id
    )
    WHERE NOT EXISTS (
            SELECT FROM registry.tokens t WHERE t.token_sha256 = item.token_sha256)
        AND NOT EXISTS (
            SELECT FROM registry.requests r
            WHERE r.caller = item.caller AND r.method = 'BeginIncarnation'
                AND r.workspace_id = item.workspace_id AND r.request_id = item.request_id)
), ended AS (
    UPDATE registry.tokens t
    SET revoke_time = locked.now, revoke_reason = 'RELAUNCHED', revoke_note = ''
    FROM (
        SELECT old.token_id, wanted.now
        FROM registry.tokens old JOIN wanted USING (workspace_id)
        WHERE old.kind IN ('INSTANCE', 'TICKET') AND old.revoke_time IS NULL
        ORDER BY old.token_id FOR UPDATE OF old
    ) locked
    WHERE t.token_id = locked.token_id AND t.revoke_time IS NULL
    RETURNING t.token_id, t.workspace_id, t.kind
), told AS (
    UPDATE registry.registrations r SET changed = pg_current_xact_id()::text::bigint
    FROM wanted WHERE r.workspace_id = wanted.workspace_id
), launched AS (
    UPDATE registry.workspaces w
    SET incarnation = greatest(w.incarnation, wanted.minimum) + 1
                      + CASE WHEN w.restore_time IS NULL THEN 0 ELSE %(left_out)s::bigint END,
        launch_time = wanted.now,
        fence = NULL, compromised = false, box_left = false, restore_time = NULL
    FROM wanted WHERE w.workspace_id = wanted.workspace_id
    RETURNING w.workspace_id, w.incarnation
), minted AS (
    INSERT INTO registry.tokens AS t (
        workspace_id, kind, token_sha256, prefix, incarnation, create_time, expire_time,
        client_made, request_id, created_by, issue_digest
    )
    SELECT workspace_id, 'TICKET', token_sha256, prefix, launched.incarnation, now, now + ttl,
           client_made, request_id, caller, digest
    FROM wanted JOIN launched USING (workspace_id)
    ORDER BY token_sha256
    RETURNING {tokens.columns("t")}
), counted AS (
    SELECT minted.workspace_id, count(ended.token_id) AS revoked_count
    FROM minted LEFT JOIN ended
        ON ended.workspace_id = minted.workspace_id AND ended.kind = 'INSTANCE'
    GROUP BY minted.workspace_id
), remembered AS (
    INSERT INTO registry.requests
        (caller, method, workspace_id, request_id, params_digest, result, create_time)
    SELECT caller, 'BeginIncarnation', workspace_id, wanted.request_id, digest,
           jsonb_build_object('token_id', token_id, 'incarnation', incarnation,
                              'revoked_count', revoked_count), now
    FROM wanted JOIN minted USING (workspace_id) JOIN counted USING (workspace_id)
), audited AS (
    INSERT INTO registry.audit_events
        (actor, method, action, tenant_id, workspace_id, subject, details, correlation_id)
    SELECT actor, method, action, tenant_id, workspace_id, subject, details, correlation_id
    FROM (
        SELECT workspace_id, 'token.revoked' AS action, token_id::text AS subject,
               jsonb_build_object('kind', kind, 'reason', 'RELAUNCHED') AS details
        FROM ended
        UNION ALL
        SELECT workspace_id, 'incarnation.begun', token_id::text,
               jsonb_build_object('incarnation', incarnation::text,
                                  'revoked_count', revoked_count::text)
               || CASE WHEN lifted = '' THEN '{{}}'
                       ELSE jsonb_build_object('lifted', lifted) END
        FROM wanted JOIN minted USING (workspace_id) JOIN counted USING (workspace_id)
    ) change JOIN wanted USING (workspace_id)
)
SELECT minted.*, revoked_count FROM minted JOIN counted USING (workspace_id)
""",  # noqa: S608 - only names of columns are put in
)


class Launch(NamedTuple):
    """One launch to begin, of a workspace that is locked, and its ticket."""

    workspace_id: WorkspaceId
    tenant_id: TenantId
    # The new incarnation will be above this number.
    minimum: int
    token_sha256: bytes
    prefix: str
    client_made: bool
    ttl: timedelta
    # The fences that it lifts, separated by spaces.
    lifted: str
    request_id: RequestId
    caller: str
    digest: bytes
    now: datetime
    actor: str
    method: str
    correlation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    ticket: Token
    # How many instance tokens were revoked.
    revoked_count: int


def lock(tx: Connection, workspace_ids: Sequence[WorkspaceId]) -> dict[WorkspaceId, Known]:
    """Lock these workspaces; returns those that exist and that no other transaction holds."""
    rows = _LOCK.run(tx, {"workspace_ids": array(workspace_ids)})
    found = map(workspaces.known_of, rows)
    return {known.workspace.workspace_id: known for known in found}


def begin(tx: Connection, launches: Sequence[Launch]) -> dict[WorkspaceId, Begun]:
    """Begin these launches, one for each workspace; returns those that have begun. The caller must
    publish the tokens that ended. IntegrityError when another transaction stored a hash first; then
    none has begun.
    """
    parameters = {**arrays_of(launches), "left_out": workspaces.LEFT_OUT}
    found = (
        Begun(ticket=tokens.to_token(row), revoked_count=row.revoked_count)
        for row in _BEGIN.run(tx, parameters)
    )
    return {begun.ticket.workspace_id: begun for begun in found}
