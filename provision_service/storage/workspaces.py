"""Reading and changing workspaces. The workspace's row is the lock of everything about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Select,
    Uuid,
    and_,
    bindparam,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from agentworkspace.core.ids import uuids_beginning_with
from agentworkspace.service.prepared import Prepared, array, columns
from provision_service.domain.lifecycle import WorkspaceStatus
from provision_service.domain.records import LastError, Workspace
from provision_service.storage.documents import last_error_document
from provision_service.storage.models import SecretRow, TenantRow, WorkspaceRow
from provision_service.storage.workspace_records import (
    Held,
    held_of,
)

_W = WorkspaceRow
_S = SecretRow


def _query() -> Select[Any]:
    return select(
        _W.__table__,
        TenantRow.default_billing,
        TenantRow.usage_token_ciphertext,
        TenantRow.usage_token_nonce,
        TenantRow.usage_token_key_id,
        TenantRow.input_revision.label("tenant_input_revision"),
    ).join(TenantRow, TenantRow.tenant_id == _W.tenant_id)


# Built once: building a statement costs more than running it.
_FIND = _query().where(_W.workspace_id == bindparam("workspace_id"))
_FIND_MANY = _query().where(
    _W.workspace_id == func.any(bindparam("workspace_ids", type_=ARRAY(Uuid(as_uuid=False))))
)
_LOCK = _FIND.with_for_update(of=_W, key_share=True)
_LOCK_FREE = Prepared(
    "lock_free",
    f"""
SELECT {columns(_W.__table__, "w")}, default_billing, usage_token_ciphertext, usage_token_nonce,
       usage_token_key_id, t.input_revision AS tenant_input_revision
FROM provision.workspaces w JOIN provision.tenants t USING (tenant_id)
WHERE workspace_id = ANY(%(workspace_ids)s::uuid[])
ORDER BY workspace_id FOR NO KEY UPDATE OF w SKIP LOCKED
""",  # noqa: S608 - only names of columns are put in
)


def find(tx: Connection, workspace_id: str) -> Held | None:
    """The workspace as it stands."""
    row = tx.execute(_FIND, {"workspace_id": workspace_id}).one_or_none()
    return None if row is None else held_of(row)


def find_many(tx: Connection, workspace_ids: list[str]) -> dict[str, Workspace]:
    """Which of these workspaces exist, by id."""
    if not workspace_ids:
        return {}
    rows = tx.execute(_FIND_MANY, {"workspace_ids": workspace_ids})
    return {row.workspace_id: held_of(row).workspace for row in rows}


def in_order(tx: Connection, *, after: str | None, limit: int) -> list[Workspace]:
    """The workspaces after this id (None: the first ones), removed ones too, in order of ids."""
    query = _query().order_by(_W.workspace_id).limit(limit)
    if after is not None:
        query = query.where(_W.workspace_id > after)
    return [held_of(row).workspace for row in tx.execute(query)]


def lock(tx: Connection, workspace_id: str) -> Held | None:
    """The same as `find`, and nobody else changes it until this transaction ends."""
    row = tx.execute(_LOCK, {"workspace_id": workspace_id}).one_or_none()
    return None if row is None else held_of(row)


def lock_free(tx: Connection, workspace_ids: Sequence[str]) -> dict[str, Held]:
    """Lock those of these workspaces that nobody else has locked, waiting for none; by id."""
    rows = _LOCK_FREE.run(tx, {"workspace_ids": array(workspace_ids)})
    return {row.workspace_id: held_of(row) for row in rows}


def page(
    tx: Connection,
    *,
    tenants: list[str] | None,
    status: WorkspaceStatus | None,
    needs_launch: bool,
    show_removed: bool,
    named: str,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[Workspace]:
    """Workspaces of `tenants` (None: of all), newest first, after a place."""
    query = _query()
    if tenants is not None:
        query = query.where(_W.tenant_id == func.any(tenants))
    if status is not None:
        query = query.where(_W.status == status.value)
    if needs_launch:
        query = query.where(_W.needs_launch_reason.is_not(None))
    if not show_removed and status is not WorkspaceStatus.REMOVED:
        query = query.where(_W.remove_time.is_(None))
    if named:
        query = query.where(or_(_W.name == named, _begins_with(named)))
    if after is not None:
        query = query.where(tuple_(_W.create_time, _W.workspace_id) < tuple_(*after))
    query = query.order_by(_W.create_time.desc(), _W.workspace_id.desc()).limit(limit)
    return [held_of(row).workspace for row in tx.execute(query)]


def living(
    tx: Connection, *, after: str, limit: int, unsaid: Sequence[str] | None = None
) -> list[Held]:
    """Workspaces that were not removed, in the order of their ids, after one (empty: from the
    first).

    With `unsaid`, only those with an own secret of one of these names of which nobody said whose
    credential it is.
    """
    query = _query().where(_W.remove_time.is_(None))
    if unsaid is not None:
        query = query.where(
            exists().where(
                _S.workspace_id == _W.workspace_id, _S.key.in_(unsaid), _S.provider.is_(None)
            )
        )
    if after:
        query = query.where(_W.workspace_id > after)
    return [held_of(row) for row in tx.execute(query.order_by(_W.workspace_id).limit(limit))]


def count_living(tx: Connection) -> int:
    """How many were not removed."""
    counted = select(func.count()).select_from(_W).where(_W.remove_time.is_(None))
    return tx.execute(counted).scalar_one()


def _begins_with(prefix: str) -> ColumnElement[bool]:
    found = uuids_beginning_with(prefix)
    return false() if found is None else _W.workspace_id.between(*found)


def change_spec(tx: Connection, workspace_id: str, values: Mapping[str, Any]) -> None:
    """Write columns of the spec: a new etag, a new input revision."""
    tx.execute(
        update(WorkspaceRow)
        .where(_W.workspace_id == workspace_id)
        .values(
            **values,
            revision=_W.revision + 1,
            input_revision=_W.input_revision + 1,
            update_time=func.clock_timestamp(),
        )
    )


def count_input(tx: Connection, workspace_id: str) -> None:
    """Count a write of something outside the spec that a launch depends on."""
    tx.execute(
        update(WorkspaceRow)
        .where(_W.workspace_id == workspace_id)
        .values(input_revision=_W.input_revision + 1, update_time=func.clock_timestamp())
    )


def change(tx: Connection, workspace_id: str, **values: Any) -> None:
    """Write columns that say how the workspace is doing; etag and input revision stay."""
    tx.execute(
        update(WorkspaceRow)
        .where(_W.workspace_id == workspace_id)
        .values(**values, update_time=func.clock_timestamp())
    )


def record_error(
    tx: Connection,
    workspace: Workspace,
    *,
    code: str,
    message: str,
    time: datetime | None = None,
    incarnation: int | None = None,
) -> None:
    """Write `last_error`, unless a newer one is there. The row is locked."""
    when = time or now(tx)
    if workspace.last_error is not None and workspace.last_error.time > when:
        return
    error = LastError(
        code=code,
        message=message,
        incarnation=workspace.incarnation if incarnation is None else incarnation,
        time=when,
    )
    change(tx, workspace.id, last_error=last_error_document(error))


def now(tx: Connection) -> datetime:
    """The database's clock at this moment, not at the transaction's start."""
    moment: datetime = tx.execute(select(func.clock_timestamp())).scalar_one()
    return moment


def parent_problem(
    tx: Connection, *, workspace_id: str, tenant_id: str, parent_id: str
) -> str | None:
    """Why a workspace may not be the parent, or None. Walks up from the parent."""
    lineage = (
        select(_W.workspace_id, _W.parent_id, _W.tenant_id, _W.remove_time, literal(1).label("n"))
        .where(_W.workspace_id == parent_id)
        .cte("lineage", recursive=True)
    )
    above = select(
        _W.workspace_id, _W.parent_id, _W.tenant_id, _W.remove_time, lineage.c.n + 1
    ).join(lineage, and_(_W.workspace_id == lineage.c.parent_id, lineage.c.n < 1000))
    rows = tx.execute(select(lineage.union_all(above))).all()
    if not rows or rows[0].tenant_id != tenant_id:
        return "is not a workspace of this tenant"
    if rows[0].remove_time is not None:
        return "was removed"
    if parent_id == workspace_id or any(row.workspace_id == workspace_id for row in rows):
        return "works for this workspace itself: a cycle"
    return None
