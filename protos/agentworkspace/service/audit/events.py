"""Writes the rows of the audit: in the transaction of the change, and never with a secret."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from agentworkspace.core.audit import Change

# By arrays, so that any number of changes is one and the same statement.
_APPEND: Final = """
INSERT INTO {schema}.audit_events
    (actor, method, action, tenant_id, workspace_id, subject, details, correlation_id)
SELECT %(actor)s, %(method)s, entry.action, entry.tenant_id, entry.workspace_id, entry.subject,
       entry.details, %(correlation_id)s
FROM unnest(%(actions)s::text[], %(tenant_ids)s::text[], %(workspace_ids)s::uuid[],
            %(subjects)s::text[], %(details)s::jsonb[])
    AS entry (action, tenant_id, workspace_id, subject, details)
"""


def append(
    tx: Connection,
    schema: str,
    changes: Sequence[Change],
    *,
    actor: str,
    method: str,
    correlation_id: str,
) -> None:
    """Write a row for each change that one call made; `schema` is the service's."""
    if not changes:
        return
    parameters = {
        "actor": actor,
        "method": method,
        "correlation_id": correlation_id,
        "actions": [change.action for change in changes],
        "tenant_ids": [change.tenant_id for change in changes],
        "workspace_ids": [change.workspace_id for change in changes],
        "subjects": [change.subject for change in changes],
        "details": [json.dumps(dict(change.details)) for change in changes],
    }
    tx.exec_driver_sql(_APPEND.format(schema=schema), parameters)
