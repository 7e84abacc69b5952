"""Stores many new workspaces in one statement: the fast path of AdmitWorkspace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection

from agentworkspace.core.ids import RequestId, TenantId, WorkspaceId
from agentworkspace.service.prepared import Prepared, arrays_of
from registry_service.domain.tokens import Token
from registry_service.storage import tokens

# Returns no row for a workspace that is known already. It waits for transactions that are storing
# the same ones, always in the order of the ids.
_ADMIT: Final = Prepared(
    "admit",
    f"""
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest(
        %(workspace_id)s::uuid[], %(tenant_id)s::text[], %(ticket_required)s::boolean[],
        %(evidence_required)s::boolean[], %(token_sha256)s::bytea[], %(prefix)s::text[],
        %(label)s::text[], %(scopes)s::text[], %(ttl)s::interval[], %(request_id)s::uuid[],
        %(caller)s::text[], %(digest)s::bytea[], %(actor)s::text[], %(method)s::text[],
        %(correlation_id)s::text[]
    ) AS item (
        workspace_id, tenant_id, ticket_required, evidence_required, token_sha256, prefix, label,
        scopes, ttl, request_id, caller, digest, actor, method, correlation_id
    )
), fresh AS (
    INSERT INTO registry.workspaces
        (workspace_id, tenant_id, create_time, ticket_required, evidence_required)
    SELECT workspace_id, tenant_id, clock_timestamp(), ticket_required, evidence_required
    FROM wanted ORDER BY workspace_id
    ON CONFLICT (workspace_id) DO NOTHING
    RETURNING workspace_id, create_time AS now
), registered AS (
    INSERT INTO registry.registrations (workspace_id, state, changed)
    SELECT workspace_id, 'PENDING', pg_current_xact_id()::text::bigint FROM fresh
), minted AS (
    INSERT INTO registry.tokens AS t (
        workspace_id, kind, token_sha256, prefix, label, scopes, create_time, expire_time,
        client_made, request_id, created_by, issue_digest
    )
    SELECT workspace_id, 'API', token_sha256, prefix, label,
           ARRAY(SELECT jsonb_array_elements_text(scopes::jsonb)), now, now + ttl, false,
           request_id, caller, digest
    FROM wanted JOIN fresh USING (workspace_id) WHERE token_sha256 IS NOT NULL
    RETURNING {tokens.columns("t")}
), remembered AS (
    INSERT INTO registry.requests
        (caller, method, workspace_id, request_id, params_digest, result, create_time)
    SELECT caller, 'AdmitWorkspace', workspace_id, wanted.request_id, digest,
           jsonb_build_object('token_id', token_id), create_time
    FROM minted JOIN wanted USING (workspace_id) WHERE wanted.request_id IS NOT NULL
), audited AS (
    INSERT INTO registry.audit_events
        (actor, method, action, tenant_id, workspace_id, subject, details, correlation_id)
    SELECT actor, method, action, tenant_id, workspace_id, subject, details, correlation_id
    FROM (
        SELECT workspace_id, 'workspace.admitted' AS action, '' AS subject,
               jsonb_build_object('ticket_required', ticket_required::text,
                                  'evidence_required', evidence_required::text) AS details
        FROM wanted JOIN fresh USING (workspace_id)
        UNION ALL
        SELECT workspace_id, 'token.minted', token_id::text,
               jsonb_build_object('kind', kind, 'client_made', client_made::text)
        FROM minted
    ) change JOIN wanted USING (workspace_id)
)
SELECT fresh.workspace_id AS admitted, minted.* FROM fresh LEFT JOIN minted USING (workspace_id)
""",  # noqa: S608 - only names of columns are put in
)


class NewWorkspace(NamedTuple):
    """One to admit, and the first token that was made for it here, if one is wanted."""

    workspace_id: WorkspaceId
    tenant_id: TenantId
    ticket_required: bool
    evidence_required: bool
    token_sha256: bytes | None
    prefix: str
    label: str
    # Text of a JSON list: an array of arrays would have to be rectangular.
    scopes: str
    ttl: timedelta | None
    request_id: RequestId | None
    caller: str
    digest: bytes | None
    actor: str
    method: str
    correlation_id: str


def admit(tx: Connection, items: Sequence[NewWorkspace]) -> dict[WorkspaceId, Token | None]:
    """Those that were not known, each with its first token; no two of the same id."""
    return {
        WorkspaceId(str(row.admitted)): tokens.to_token(row) if row.token_id else None
        for row in _ADMIT.run(tx, arrays_of(items))
    }
