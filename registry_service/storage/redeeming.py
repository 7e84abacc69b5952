"""Redeems many tickets in one statement: the fast path of a first Register."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection

from agentworkspace.core.ids import RequestId, TenantId, TokenId, WorkspaceId
from agentworkspace.service.prepared import Prepared, array, arrays_of, bytea_array
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.tokens import Outcome, Token
from registry_service.storage import tokens

# Locks only where the ticket is outstanding, so that a stranger can lock nothing. Skips a workspace
# if another transaction holds any of its three rows, so that nothing is waited for.
_LOCK: Final = Prepared(
    "lock_for_redeeming",
    """
SELECT w.workspace_id
FROM unnest(%(workspace_ids)s::uuid[], %(tickets)s::bytea[]) AS shown (workspace_id, token_sha256)
JOIN registry.tokens ticket USING (token_sha256, workspace_id)
JOIN registry.workspaces w USING (workspace_id)
JOIN registry.registrations r USING (workspace_id)
WHERE ticket.kind = 'TICKET' AND ticket.first_use_time IS NULL AND ticket.revoke_time IS NULL
ORDER BY w.workspace_id FOR UPDATE OF w, r, ticket SKIP LOCKED
""",
)
# Returns no row where an instance token is not revoked yet, whose end would have to be published,
# or where the hash is known. Hashes are written in order, so that two batches with common ones
# cannot deadlock.
_REDEEM: Final = Prepared(
    "redeem",
    f"""
WITH wanted AS MATERIALIZED (
    SELECT item.*, 'workspace:' || workspace_id AS box
    FROM unnest(
        %(workspace_id)s::uuid[], %(tenant_id)s::text[], %(incarnation)s::bigint[],
        %(ticket_id)s::uuid[], %(token_sha256)s::bytea[], %(prefix)s::text[],
        %(client_made)s::boolean[], %(request_id)s::uuid[], %(outcome)s::text[],
        %(line)s::text[], %(proxy_sha256)s::bytea[], %(proxy_prefix)s::text[],
        %(time)s::timestamptz[], %(actor)s::text[], %(method)s::text[],
        %(correlation_id)s::text[]
    ) AS item (
        workspace_id, tenant_id, incarnation, ticket_id, token_sha256, prefix, client_made,
        request_id, outcome, line, proxy_sha256, proxy_prefix, time, actor, method, correlation_id
    )
), minted AS (
    INSERT INTO registry.tokens AS t (
        workspace_id, kind, token_sha256, prefix, incarnation, create_time, outcome, minted_on,
        client_made, request_id, created_by
    )
    SELECT workspace_id, 'INSTANCE', token_sha256, prefix, incarnation, time, outcome,
           ticket_id, client_made, request_id, box
    FROM wanted
    WHERE NOT EXISTS (
        SELECT FROM registry.tokens other
        WHERE other.workspace_id = wanted.workspace_id AND other.kind = 'INSTANCE'
            AND other.revoke_time IS NULL)
    ORDER BY token_sha256
    ON CONFLICT (token_sha256) DO NOTHING
    RETURNING {tokens.columns("t")}
), proxies AS (
    INSERT INTO registry.tokens AS t (
        workspace_id, kind, token_sha256, prefix, incarnation, create_time, minted_on, client_made,
        created_by
    )
    SELECT workspace_id, 'PROXY', proxy_sha256, proxy_prefix, wanted.incarnation, time, ticket_id,
           true, box
    FROM wanted JOIN minted USING (workspace_id)
    WHERE proxy_sha256 IS NOT NULL
    ORDER BY proxy_sha256
    ON CONFLICT (token_sha256) DO NOTHING
    RETURNING {tokens.columns("t")}
), redeemed AS (
    UPDATE registry.tokens ticket
    SET first_use_time = minted.create_time, last_use_time = minted.create_time
    FROM minted WHERE ticket.token_id = minted.minted_on
), replaced AS (
    -- Instance tokens up to this launch can let nobody in again.
    UPDATE registry.tokens other SET revoke_reason = 'ROTATED'
    FROM minted
    WHERE other.workspace_id = minted.workspace_id AND other.kind = 'INSTANCE'
        AND other.incarnation <= minted.incarnation
        AND other.revoke_reason IN ('OPERATOR', 'RELAUNCHED')
), admitted AS (
    UPDATE registry.workspaces w
    SET registered_incarnation = greatest(w.registered_incarnation, minted.incarnation),
        box_left = false
    FROM minted
    WHERE w.workspace_id = minted.workspace_id
        AND (w.registered_incarnation < minted.incarnation OR w.box_left)
), audited AS (
    INSERT INTO registry.audit_events
        (actor, method, action, tenant_id, workspace_id, subject, details, correlation_id)
    SELECT actor, method, 'token.minted', tenant_id, workspace_id, made.token_id::text,
           jsonb_build_object('kind', made.kind, 'client_made', made.client_made::text,
                              'incarnation', made.incarnation::text)
           || CASE WHEN made.outcome IS NULL THEN '{{}}'
                   ELSE jsonb_build_object('outcome', made.outcome, 'line', wanted.line) END,
           correlation_id
    FROM (SELECT * FROM proxies UNION ALL SELECT * FROM minted) made
    JOIN wanted USING (workspace_id)
)
SELECT * FROM minted
""",  # noqa: S608 - only names of columns are put in
)


class Redemption(NamedTuple):
    """One outstanding ticket, and the token that takes its place."""

    workspace_id: WorkspaceId
    tenant_id: TenantId
    incarnation: int
    ticket_id: TokenId
    token_sha256: bytes
    prefix: str
    client_made: bool
    request_id: RequestId | None
    # The outcome that the Register is answered, and the line of the admission table.
    outcome: Outcome
    line: AdmissionLine
    # The hash of the proxy token that is derived from the ticket; None if there is none.
    proxy_sha256: bytes | None
    proxy_prefix: str
    time: datetime
    actor: str
    method: str
    correlation_id: str


def lock(tx: Connection, shown: Sequence[tuple[WorkspaceId, bytes]]) -> frozenset[WorkspaceId]:
    """Lock workspaces, each with its ticket and registration, where the hash shown is that of an
    outstanding ticket. Returns those that no other transaction holds.
    """
    parameters = {
        "workspace_ids": array(workspace_id for workspace_id, _ in shown),
        "tickets": bytea_array(ticket for _, ticket in shown),
    }
    rows = _LOCK.run(tx, parameters)
    return frozenset(WorkspaceId(str(row.workspace_id)) for row in rows)


def redeem(tx: Connection, redemptions: Sequence[Redemption]) -> dict[WorkspaceId, Token]:
    """The tokens that were minted, by workspace; each of those was locked, and comes once."""
    minted = map(tokens.to_token, _REDEEM.run(tx, arrays_of(redemptions)))
    return {token.workspace_id: token for token in minted}
