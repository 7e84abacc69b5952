"""Launches: the claim of a workspace while open, and its history ever after."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, Select, bindparam, func, select, tuple_, update

from provision_service.domain.lifecycle import (
    ProvisionOutcome,
    ProvisionReason,
    ProvisionState,
)
from provision_service.domain.records import (
    Billing,
    ManifestEntry,
    Provision,
    ProvisionError,
)
from provision_service.storage.documents import (
    billing_from,
    manifest_from,
)
from provision_service.storage.models import ProvisionRow, TenantRow, WorkspaceRow

_P = ProvisionRow
_S = ProvisionState
OPEN: Final = (_S.CLAIMED.value, _S.ENV_DELIVERED.value)
# States that a newer launch puts an end to.
UNFINISHED: Final = (
    *OPEN,
    _S.LAUNCHED.value,
    _S.REGISTERED.value,
    _S.PROVEN.value,
    _S.LAPSED.value,
)
# States of which the registry may still have news; an index of the table has the same.
ON_THEIR_WAY: Final = (_S.ENV_DELIVERED, _S.LAUNCHED, _S.REGISTERED)


def with_current_inputs() -> Select[Any]:
    """Launches, with the inputs that their workspace has by now, and the database's clock."""
    current = WorkspaceRow.input_revision + TenantRow.input_revision
    return (
        select(
            _P.__table__,
            current.label("current_input_revision"),
            func.clock_timestamp().label("now"),
        )
        .join(WorkspaceRow, WorkspaceRow.workspace_id == _P.workspace_id)
        .join(TenantRow, TenantRow.tenant_id == WorkspaceRow.tenant_id)
    )


# Built once: building a statement costs more than running it.
_FIND: Final = with_current_inputs().where(_P.provision_id == bindparam("provision_id"))
_NEWEST: Final = (
    with_current_inputs()
    .where(_P.workspace_id == bindparam("workspace_id"), _P.incarnation > 0)
    .order_by(_P.incarnation.desc(), _P.create_time.desc())
    .limit(1)
)

_PROGRESS: Final = """
SELECT DISTINCT ON (workspace_id) workspace_id::text, provision_id::text, incarnation, state
FROM provision.provisions
WHERE workspace_id = ANY(%(workspace_ids)s::uuid[]) AND incarnation > 0
ORDER BY workspace_id, incarnation DESC, create_time DESC
"""


class Progress(NamedTuple):
    """How far a launch got."""

    provision_id: str
    incarnation: int
    state: ProvisionState


def find(tx: Connection, provision_id: str) -> tuple[Provision, datetime] | None:
    """One launch, and the database's clock."""
    row = tx.execute(_FIND, {"provision_id": provision_id}).one_or_none()
    return None if row is None else (stored_provision(row), row.now)


def newest(tx: Connection, workspace_id: str) -> Provision | None:
    """The launch of a workspace's newest incarnation; None before any."""
    row = tx.execute(_NEWEST, {"workspace_id": workspace_id}).one_or_none()
    return None if row is None else stored_provision(row)


def progress(tx: Connection, workspace_ids: list[str]) -> dict[str, Progress]:
    """How far the newest launch of each workspace is; one that was never launched is left out."""
    rows = tx.exec_driver_sql(_PROGRESS, {"workspace_ids": workspace_ids})
    return {
        row.workspace_id: Progress(row.provision_id, row.incarnation, _S(row.state)) for row in rows
    }


def page(
    tx: Connection,
    *,
    tenants: list[str] | None,
    workspace_id: str,
    state: ProvisionState | None,
    id_range: tuple[str, str] | None,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[Provision]:
    """Launches of `tenants` (None: of all), newest first, after a place."""
    query = with_current_inputs()
    if tenants is not None:
        query = query.where(_P.tenant_id == func.any(tenants))
    if workspace_id:
        query = query.where(_P.workspace_id == workspace_id)
    if state is not None:
        query = query.where(_P.state == state.value)
    if id_range is not None:
        query = query.where(_P.provision_id.between(*id_range))
    if after is not None:
        query = query.where(tuple_(_P.create_time, _P.provision_id) < tuple_(*after))
    query = query.order_by(_P.create_time.desc(), _P.provision_id.desc()).limit(limit)
    return [stored_provision(row) for row in tx.execute(query)]


def set_state(tx: Connection, provision_id: str, state: ProvisionState, **values: Any) -> None:
    """Move a launch; whoever calls has checked that it may."""
    tx.execute(
        update(ProvisionRow)
        .where(_P.provision_id == provision_id)
        .values(state=state.value, **values)
    )


def complete(
    tx: Connection,
    provision_id: str,
    *,
    state: ProvisionState,
    outcome: ProvisionOutcome,
    error: ProvisionError | None,
    rerun_required: bool,
) -> None:
    """Store what the launcher says became of a launch."""
    set_state(
        tx,
        provision_id,
        state,
        outcome=outcome.value,
        error_code=error.code if error else None,
        error_message=error.message if error else None,
        rerun_required=rerun_required,
        complete_time=func.clock_timestamp(),
    )


def watched_workspaces(tx: Connection, limit: int) -> list[str]:
    """Workspaces with a launch that the registry may have news of; the longest unseen first."""
    query = (
        select(_P.workspace_id)
        .where(_P.state.in_(ON_THEIR_WAY))
        .order_by(_P.observe_time.nulls_first(), _P.create_time)
        .limit(limit)
    )
    return list(dict.fromkeys(tx.scalars(query)))


def newest_workspaces(tx: Connection, limit: int) -> list[str]:
    """The workspaces of the newest `limit` launches, each once."""
    newest = select(_P.workspace_id).order_by(_P.create_time.desc(), _P.provision_id.desc())
    return list(dict.fromkeys(tx.scalars(newest.limit(limit))))


def mark_observed(tx: Connection, workspace_ids: list[str]) -> None:
    """Note that these were looked at just now. Rows that a launch or another replica has locked are
    skipped: many rows, updated in no fixed order, could deadlock.
    """
    free = (
        select(_P.provision_id)
        .where(_P.workspace_id.in_(workspace_ids), _P.state.in_(ON_THEIR_WAY))
        .with_for_update(skip_locked=True, key_share=True)
    )
    tx.execute(
        update(ProvisionRow)
        .where(_P.provision_id.in_(free))
        .values(observe_time=func.clock_timestamp())
    )


def stored_provision(row: Row[Any]) -> Provision:
    """The launch in a row of `with_current_inputs`."""
    return provision_of(
        row,
        current_input_revision=row.current_input_revision,
        billing=billing_from(row.billing),
        manifest=manifest_from(row.manifest),
    )


def provision_of(
    row: Row[Any],
    *,
    current_input_revision: int,
    billing: Billing | None,
    manifest: tuple[ManifestEntry, ...],
) -> Provision:
    """The launch in a row, with the parts that are documents."""
    changed = row.complete_time is None and current_input_revision != row.input_revision
    is_over = row.state in (_S.FAILED.value, _S.SUPERSEDED.value)
    error = None
    if row.error_code is not None:
        error = ProvisionError(code=row.error_code, message=row.error_message or "")
    return Provision(
        id=row.provision_id,
        workspace_id=row.workspace_id,
        tenant_id=row.tenant_id,
        request_id=row.request_id,
        caller=row.caller,
        reason=ProvisionReason(row.reason),
        state=ProvisionState(row.state),
        incarnation=row.incarnation,
        input_revision=row.input_revision,
        billing=billing,
        manifest=manifest,
        rerun_required=row.rerun_required or (changed and not is_over),
        outcome=ProvisionOutcome(row.outcome) if row.outcome else None,
        error=error,
        create_time=row.create_time,
        lease_expire_time=row.lease_expire_time,
        deliver_time=row.deliver_time,
        complete_time=row.complete_time,
        register_time=row.register_time,
        prove_time=row.prove_time,
    )
