"""Many new workspaces in one statement: the hot path of AdmitWorkspace."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection

from agentworkspace.core.ids import RequestId, TenantId, WorkspaceId
from agentworkspace.service.prepared import Prepared, bytea_array
from registry_service.domain.tokens import Token
from registry_service.storage import tokens

# A workspace that is known gets no row, nor does one that another transaction makes known first:
# for that one the statement waits, in the order of the ids.
_ADMIT: Final = Prepared(
    "admit",
    f"""
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest(
        %(workspace_ids)s::uuid[], %(tenant_ids)s::text[], %(ticket_requireds)s::boolean[],
        %(evidence_requireds)s::boolean[], %(hashes)s::bytea[], %(prefixes)s::text[],
        %(labels)s::text[], %(scopes)s::text[], %(ttls)s::interval[], %(request_ids)s::uuid[],
        %(callers)s::text[], %(digests)s::bytea[], %(actors)s::text[], %(methods)s::text[],
        %(correlation_ids)s::text[]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWorkspace:
    """One to admit, and the first token that was made for it here, if one is wanted."""

    workspace_id: WorkspaceId
    tenant_id: TenantId
    ticket_required: bool
    evidence_required: bool
    token_sha256: bytes | None
    prefix: str
    label: str
    scopes: Sequence[str]
    ttl: timedelta | None
    request_id: RequestId | None
    caller: str
    digest: bytes | None
    actor: str
    method: str
    correlation_id: str


def admit(tx: Connection, items: Sequence[NewWorkspace]) -> dict[WorkspaceId, Token | None]:
    """Those that were not known, each with its first token; no two of the same id."""
    parameters: dict[str, Any] = {
        "workspace_ids": [item.workspace_id for item in items],
        "tenant_ids": [item.tenant_id for item in items],
        "ticket_requireds": [item.ticket_required for item in items],
        "evidence_requireds": [item.evidence_required for item in items],
        "hashes": bytea_array(item.token_sha256 for item in items),
        "prefixes": [item.prefix for item in items],
        "labels": [item.label for item in items],
        # An array of arrays must be rectangular.
        "scopes": [json.dumps(list(item.scopes)) for item in items],
        "ttls": [item.ttl for item in items],
        "request_ids": [item.request_id for item in items],
        "callers": [item.caller for item in items],
        "digests": bytea_array(item.digest for item in items),
        "actors": [item.actor for item in items],
        "methods": [item.method for item in items],
        "correlation_ids": [item.correlation_id for item in items],
    }
    return {
        WorkspaceId(str(row.admitted)): tokens.to_token(row) if row.token_id else None
        for row in _ADMIT.run(tx, parameters)
    }
