"""Answered request ids, so that a repeated call finds its first answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from provision_service.storage.models_internal import RequestRow

_R = RequestRow
# Built once: building a statement costs more than running it.
_CLAIM = insert(RequestRow).on_conflict_do_nothing().returning(_R.request_id)
_FIND = select(_R.params_digest, _R.result).where(
    *(column == bindparam(column.name) for column in RequestRow.__table__.primary_key)
)


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
    request = asdict(key) | {"params_digest": params_digest, "result": result}
    if tx.execute(_CLAIM, request).one_or_none() is not None:
        return None
    row = tx.execute(_FIND, asdict(key)).one()
    return Answered(row.params_digest, row.result)


def find(tx: Connection, key: RequestKey) -> Answered | None:
    """What a request id was answered before, without taking it."""
    row = tx.execute(_FIND, asdict(key)).one_or_none()
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
