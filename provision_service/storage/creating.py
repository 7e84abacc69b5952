"""New workspaces, each with everything that it begins with, in one statement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from agentworkspace.core.secret import Secret
from agentworkspace.service.prepared import Prepared, array
from provision_service.domain.lifecycle import WorkspaceStatus
from provision_service.domain.records import Workspace
from provision_service.domain.registry_port import Admission
from provision_service.domain.spec import WorkspaceSpec
from provision_service.storage import outbox, secrets
from provision_service.storage.requests import RequestKey
from provision_service.storage.secrets import SecretPlace
from provision_service.storage.store import Transaction
from provision_service.storage.tenants import TenantFacts
from provision_service.storage.workspace_records import spec_values

# An item whose request was answered before gets no row; one whose request is being answered waits
# for that. All is written in one order, so that batches with requests or tenants in common wait for
# each other in one direction, and never in a circle.
_CREATE: Final = Prepared(
    "create_workspaces",
    """
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest(
        %(workspace_id)s::uuid[], %(tenant_id)s::text[], %(spec)s::jsonb[],
        %(message)s::jsonb[], %(not_before)s::interval[], %(request_id)s::text[],
        %(digest)s::bytea[], %(caller)s::text[], %(method)s::text[],
        %(correlation_id)s::text[], %(facts)s::jsonb[]
    ) AS item (
        workspace_id, tenant_id, spec, message, not_before, request_id, digest, caller, method,
        correlation_id, facts
    )
), taken AS (
    INSERT INTO provision.requests (caller, method, scope, request_id, params_digest, result)
    SELECT caller, 'CreateWorkspace', tenant_id, request_id, digest,
           jsonb_build_object('workspace_id', workspace_id)
    FROM wanted WHERE request_id IS NOT NULL ORDER BY caller, tenant_id, request_id
    ON CONFLICT DO NOTHING
    RETURNING (result ->> 'workspace_id')::uuid AS workspace_id
), fresh AS MATERIALIZED (
    SELECT * FROM wanted
    WHERE request_id IS NULL OR workspace_id IN (SELECT workspace_id FROM taken)
), tenant AS (
    INSERT INTO provision.tenants (tenant_id) SELECT DISTINCT tenant_id FROM fresh ORDER BY 1
    ON CONFLICT DO NOTHING
), told AS (
    INSERT INTO provision.outbox (workspace_id, tenant_id, op, payload, next_attempt_time)
    SELECT workspace_id, tenant_id, 'ADMIT', message, clock_timestamp() + not_before FROM fresh
), kept AS (
    INSERT INTO provision.secrets (
        tenant_id, workspace_id, updated_by, key, ciphertext, nonce, key_id, fingerprint,
        size_bytes, is_long, provider
    )
    SELECT fresh.tenant_id, workspace_id, caller, one.key, one.ciphertext, one.nonce, one.key_id,
           one.fingerprint, one.size_bytes, one.is_long, one.provider
    FROM unnest(
        %(owner)s::uuid[], %(key)s::text[], %(ciphertext)s::bytea[], %(nonce)s::bytea[],
        %(key_id)s::text[], %(fingerprint)s::bytea[], %(size_bytes)s::integer[],
        %(is_long)s::boolean[], %(provider)s::text[]
    ) AS one (
        workspace_id, key, ciphertext, nonce, key_id, fingerprint, size_bytes, is_long, provider
    ) JOIN fresh USING (workspace_id)
), audited AS (
    INSERT INTO provision.audit_events
        (actor, method, action, tenant_id, workspace_id, subject, details, correlation_id)
    SELECT caller, method, 'workspace.create', tenant_id, workspace_id, spec ->> 'name', facts,
           correlation_id
    FROM fresh
)
INSERT INTO provision.workspaces (
    workspace_id, tenant_id, name, runtime, model, template, parent_id, tier, role,
    max_concurrent_tasks, budget_limit_micros, compute, delivery_mode, url, workspace_access,
    required_env, billing_mode_override, status
)
SELECT workspace_id, tenant_id, one.name, one.runtime, one.model, one.template, one.parent_id,
       one.tier, one.role, one.max_concurrent_tasks, one.budget_limit_micros, one.compute,
       one.delivery_mode, one.url, one.workspace_access, one.required_env,
       one.billing_mode_override, 'PENDING'
FROM fresh, jsonb_to_record(fresh.spec) AS one (
    name text, runtime text, model text, template text, parent_id uuid, tier integer, role text,
    max_concurrent_tasks integer, budget_limit_micros bigint, compute jsonb, delivery_mode text,
    url text, workspace_access text, required_env text[], billing_mode_override text
)
RETURNING workspace_id::text, incarnation, revision, input_revision, admitted, create_time,
          update_time
""",
)
# Of a secret, beside whose it is.
_SEALED: Final = (
    "key",
    "ciphertext",
    "nonce",
    "key_id",
    "fingerprint",
    "size_bytes",
    "is_long",
    "provider",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWorkspace:
    """`request` is a request id to be taken, with its digest; None when it was taken before.
    `not_before` is how long the outbox waits until it tells the registry.
    """

    tenant: TenantFacts
    spec: WorkspaceSpec
    secrets: Mapping[str, Secret]
    providers: Mapping[str, str]
    admission: Admission
    first_token_sha256: str | None
    not_before: timedelta
    caller: str
    method: str
    correlation_id: str
    request: tuple[RequestKey, bytes] | None = None


def add(tx: Transaction, items: Sequence[NewWorkspace]) -> dict[str, Workspace]:
    """Store workspaces; returns, by id, those that were stored, each with its secrets, audit event,
    message to the registry and tenant. No two items share a request id.
    """
    rows = _CREATE.run(tx, _of_workspaces(items) | _of_secrets(tx, items))
    by_id = {item.admission.workspace_id: item for item in items}
    return {row.workspace_id: _workspace(by_id[row.workspace_id], row) for row in rows}


def _of_workspaces(items: Sequence[NewWorkspace]) -> dict[str, Any]:
    requests = [item.request for item in items]
    columns: dict[str, list[Any]] = {
        "workspace_id": [item.admission.workspace_id for item in items],
        "tenant_id": [item.admission.tenant_id for item in items],
        "spec": [json.dumps(spec_values(item.spec)) for item in items],
        "message": [
            json.dumps(outbox.admission_payload(item.admission, item.first_token_sha256))
            for item in items
        ],
        "not_before": [item.not_before for item in items],
        "request_id": [request[0].request_id if request else None for request in requests],
        "digest": [request[1] if request else None for request in requests],
        "caller": [item.caller for item in items],
        "method": [item.method for item in items],
        "correlation_id": [item.correlation_id for item in items],
        "facts": [
            json.dumps({"secrets": ",".join(sorted(item.secrets))} if item.secrets else {})
            for item in items
        ],
    }
    return {name: array(values) for name, values in columns.items()}


def _of_secrets(tx: Transaction, items: Sequence[NewWorkspace]) -> dict[str, Any]:
    rows = []
    for item in items:
        at = item.admission
        for key, value in item.secrets.items():
            place = SecretPlace(tenant_id=at.tenant_id, workspace_id=at.workspace_id, key=key)
            rows.append(secrets.columns(tx, place, value, item.providers.get(key)))
    sealed = {name: array(row[name] for row in rows) for name in _SEALED}
    return sealed | {"owner": array(row["workspace_id"] for row in rows)}


def _workspace(item: NewWorkspace, row: Any) -> Workspace:
    return Workspace(
        id=row.workspace_id,
        tenant_id=item.admission.tenant_id,
        spec=item.spec,
        status=WorkspaceStatus.PENDING,
        incarnation=row.incarnation,
        etag=str(row.revision),
        input_revision=row.input_revision + item.tenant.input_revision,
        admitted=row.admitted,
        create_time=row.create_time,
        update_time=row.update_time,
    )
