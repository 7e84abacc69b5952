"""Answers to requests with a request_id, kept so that a repeated request gets the same one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from agentworkspace.core.ids import RequestId, WorkspaceId

_FIND: Final = """
SELECT params_digest, result FROM registry.requests
WHERE caller = %(caller)s AND method = %(method)s AND workspace_id = %(workspace_id)s
    AND request_id = %(request_id)s
    AND create_time > clock_timestamp() - interval '24 hours'
"""
# Overwrites an answer that is older than 24 hours but not swept yet, which counts as gone.
_WRITE: Final = """
INSERT INTO registry.requests
    (caller, method, workspace_id, request_id, params_digest, result, create_time)
VALUES (%(caller)s, %(method)s, %(workspace_id)s, %(request_id)s, %(params_digest)s,
        %(result)s::jsonb, %(create_time)s)
ON CONFLICT (caller, method, workspace_id, request_id) DO UPDATE
SET params_digest = excluded.params_digest, result = excluded.result,
    create_time = excluded.create_time
"""
_REWRITE: Final = """
UPDATE registry.requests SET result = %(result)s::jsonb
WHERE caller = %(caller)s AND method = %(method)s AND workspace_id = %(workspace_id)s
    AND request_id = %(request_id)s
"""
_SWEEP: Final = """
DELETE FROM registry.requests
WHERE (caller, method, workspace_id, request_id) IN (
    SELECT caller, method, workspace_id, request_id FROM registry.requests
    WHERE create_time < clock_timestamp() - %(keep)s::interval
    ORDER BY create_time LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """`caller` is the caller's name, or `token:<id>` if the holder of that token sent it."""

    caller: str
    method: str
    workspace_id: WorkspaceId
    request_id: RequestId

    def parameters(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in RequestKey.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    params_digest: bytes
    # Ids and facts, never a secret.
    result: Mapping[str, Any]


def find(tx: Connection, key: RequestKey) -> Answered | None:
    """The answer to an earlier request, or None. Lock the workspace first, so that nobody answers
    the same request between `find` and `write`.
    """
    row = tx.exec_driver_sql(_FIND, key.parameters()).one_or_none()
    return Answered(params_digest=bytes(row.params_digest), result=row.result) if row else None


def write(
    tx: Connection,
    key: RequestKey,
    *,
    params_digest: bytes,
    result: Mapping[str, object],
    now: datetime,
) -> None:
    parameters = key.parameters() | {
        "params_digest": params_digest,
        "result": json.dumps(result),
        "create_time": now,
    }
    tx.exec_driver_sql(_WRITE, parameters)


def rewrite(tx: Connection, key: RequestKey, result: Mapping[str, object]) -> None:
    """Replace the answer by one that names the token that replaced a lost one. It gets no older or
    younger by that.
    """
    tx.exec_driver_sql(_REWRITE, key.parameters() | {"result": json.dumps(result)})


def sweep(tx: Connection, *, keep: timedelta, limit: int) -> int:
    """Delete at most `limit` answers that are older than `keep`; returns how many."""
    return tx.exec_driver_sql(_SWEEP, {"keep": keep, "limit": limit}).rowcount
