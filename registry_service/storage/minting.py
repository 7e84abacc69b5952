"""Mints many api tokens in one statement: the fast path of MintToken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection

from agentworkspace.core.ids import RequestId, WorkspaceId
from agentworkspace.service.prepared import Prepared, arrays_of
from registry_service.domain.tokens import Token, TokenKind

# What cannot be minted this simply gets no row: a busy, unknown, retired or foreign workspace, a
# hash or request_id that is known. What becomes known meanwhile is a unique violation of all. Both
# are written in order, so that two batches that have some in common wait in one direction.
_MINT: Final = Prepared(
    "mint",
    """
WITH wanted AS MATERIALIZED (
    SELECT gen_random_uuid() AS token_id, clock_timestamp() AS now, item.*
    FROM unnest(
        %(workspace_id)s::uuid[], %(token_sha256)s::bytea[], %(prefix)s::text[], %(label)s::text[],
        %(scopes)s::text[], %(ttl)s::interval[], %(client_made)s::boolean[],
        %(request_id)s::uuid[], %(caller)s::text[], %(digest)s::bytea[], %(tenants)s::text[],
        %(actor)s::text[], %(method)s::text[], %(correlation_id)s::text[]
    ) AS item (
        workspace_id, token_sha256, prefix, label, scopes, ttl, client_made, request_id, caller,
        digest, tenants, actor, method, correlation_id
    )
), present AS MATERIALIZED (
    SELECT workspace_id, tenant_id FROM registry.workspaces
    WHERE workspace_id = ANY(%(workspace_id)s::uuid[]) AND retire_time IS NULL
    ORDER BY workspace_id FOR KEY SHARE SKIP LOCKED
), able AS MATERIALIZED (
    SELECT wanted.*, present.tenant_id FROM wanted JOIN present USING (workspace_id)
    WHERE (wanted.tenants IS NULL OR present.tenant_id = ANY(string_to_array(wanted.tenants, ' ')))
        AND NOT EXISTS (
            SELECT FROM registry.tokens t WHERE t.token_sha256 = wanted.token_sha256)
        AND NOT EXISTS (
            SELECT FROM registry.requests r
            WHERE r.caller = wanted.caller AND r.method = 'MintToken'
                AND r.workspace_id = wanted.workspace_id AND r.request_id = wanted.request_id)
), remembered AS (
    INSERT INTO registry.requests
        (caller, method, workspace_id, request_id, params_digest, result, create_time)
    SELECT caller, 'MintToken', workspace_id, request_id, digest,
           jsonb_build_object('token_id', token_id), now
    FROM able WHERE request_id IS NOT NULL ORDER BY caller, workspace_id, request_id
), audited AS (
    INSERT INTO registry.audit_events
        (actor, method, action, tenant_id, workspace_id, subject, details, correlation_id)
    SELECT actor, method, 'token.minted', tenant_id, workspace_id, token_id::text,
           jsonb_build_object('kind', 'API', 'client_made', client_made::text), correlation_id
    FROM able
)
INSERT INTO registry.tokens (
    token_id, workspace_id, kind, token_sha256, prefix, label, scopes, create_time, expire_time,
    client_made, request_id, created_by, issue_digest
)
SELECT token_id, workspace_id, 'API', token_sha256, prefix, label,
       ARRAY(SELECT jsonb_array_elements_text(scopes::jsonb)), now, now + ttl,
       client_made, request_id, caller, digest
FROM able ORDER BY token_sha256
RETURNING token_sha256, token_id::text, create_time, expire_time
""",
)


class Order(NamedTuple):
    """One api token, as `arrays_of` takes it.

    A tuple, because a frozen dataclass of so many fields takes as long to make as to parse.
    """

    workspace_id: WorkspaceId
    token_sha256: bytes
    prefix: str
    label: str
    # A JSON list as text, because PostgreSQL's arrays of arrays must be rectangular.
    scopes: str
    ttl: timedelta | None
    client_made: bool
    request_id: RequestId | None
    caller: str
    digest: bytes
    # The tenants that the caller may act for, separated by spaces; None for all.
    tenants: str | None
    actor: str
    method: str
    correlation_id: str


def mint(tx: Connection, orders: Sequence[Order]) -> dict[bytes, Token]:
    """By hash, those that were minted. IntegrityError: somebody else came between; none was."""
    ordered = {order.token_sha256: order for order in orders}
    minted: dict[bytes, Token] = {}
    for row in _MINT.run(tx, arrays_of(orders)):
        order = ordered[bytes(row.token_sha256)]
        minted[order.token_sha256] = Token(
            token_id=row.token_id,
            workspace_id=order.workspace_id,
            kind=TokenKind.API,
            token_sha256=order.token_sha256,
            create_time=row.create_time,
            prefix=order.prefix,
            label=order.label,
            scopes=frozenset(json.loads(order.scopes)),
            expire_time=row.expire_time,
            request_id=order.request_id,
            client_made=order.client_made,
        )
    return minted
