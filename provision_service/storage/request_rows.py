"""Answered request ids, so that a repeated call finds its first answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from provision_service.storage.models_internal import RequestRow

_R = RequestRow


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """Whose request it is; `scope` is the workspace, or the tenant of a create."""

    caller: str
    method: str
    scope: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What was asked and answered before."""

    params_digest: bytes
    result: dict[str, Any]


def claim(
    tx: Connection, key: RequestKey, *, params_digest: bytes, result: dict[str, Any]
) -> Answered | None:
    """Take the request id for this transaction, or return what it was answered before.

    A second call with the same id waits here until the first one has ended.
    """
    taken = tx.execute(
        insert(RequestRow)
        .values(
            caller=key.caller,
            method=key.method,
            scope=key.scope,
            request_id=key.request_id,
            params_digest=params_digest,
            result=result,
        )
        .on_conflict_do_nothing()
        .returning(_R.request_id)
    ).one_or_none()
    if taken is not None:
        return None
    row = tx.execute(select(_R.params_digest, _R.result).where(*_is(key))).one()
    return Answered(row.params_digest, row.result)


def find(tx: Connection, key: RequestKey) -> Answered | None:
    """What a request id was answered before, without taking it."""
    row = tx.execute(select(_R.params_digest, _R.result).where(*_is(key))).one_or_none()
    return None if row is None else Answered(row.params_digest, row.result)


def sweep(tx: Connection, *, keep: timedelta, limit: int) -> int:
    """Forget up to `limit` requests that are older than `keep`."""
    columns = (_R.caller, _R.method, _R.scope, _R.request_id)
    old = (
        select(*columns)
        .where(_R.create_time < func.clock_timestamp() - keep)
        .order_by(_R.create_time)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return tx.execute(delete(RequestRow).where(tuple_(*columns).in_(old))).rowcount


def _is(key: RequestKey) -> tuple[Any, ...]:
    return (
        _R.caller == key.caller,
        _R.method == key.method,
        _R.scope == key.scope,
        _R.request_id == key.request_id,
    )
