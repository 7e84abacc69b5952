"""The claim of a workspace: at most one is open, and it is held for a lease."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Interval,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import aliased

from provision_service.domain.lifecycle import ProvisionReason, ProvisionState, WorkspaceStatus
from provision_service.domain.records import Billing, ManifestEntry, Provision
from provision_service.storage.documents import billing_document, manifest_document
from provision_service.storage.models import ProvisionRow
from provision_service.storage.provisions import (
    OPEN,
    UNFINISHED,
    provision_of,
    with_current_inputs,
)

_P = ProvisionRow
_S = ProvisionState
_NEWER = aliased(ProvisionRow)
# The error code of an AUTO_RESTART that found nothing to do.
NOT_NEEDED: Final = "NOT_NEEDED"
_IS_OPEN: Final = _P.complete_time.is_(None) & _P.state.in_(OPEN)
_THIS: Final = _P.provision_id == bindparam("id")
_NEW_LEASE: Final = func.clock_timestamp() + bindparam("lease", type_=Interval())


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The launches that a new request of a workspace meets.

    `own` was asked for by the same request, `open_claim` holds the workspace (it may be
    `own`). When there is one of these, `newest_id` is the launch that was claimed last and
    `now` the database's clock.
    """

    own: Provision | None
    open_claim: Provision | None
    newest_id: str | None
    now: datetime | None


# Built once: building a statement costs more than running it.
_NEWEST_ID: Final = (
    select(_NEWER.provision_id)
    .where(_NEWER.workspace_id == _P.workspace_id)
    .order_by(_NEWER.create_time.desc(), _NEWER.provision_id.desc())
    .limit(1)
    .scalar_subquery()
)
_CLAIMS: Final = (
    with_current_inputs()
    .add_columns(_NEWEST_ID.label("newest_id"))
    .where(
        _P.workspace_id == bindparam("workspace_id"),
        or_(
            (_P.caller == bindparam("caller")) & (_P.request_id == bindparam("request_id")),
            _IS_OPEN,
        ),
    )
)
_ADD: Final = insert(ProvisionRow).values(
    provision_id=bindparam("id"),
    workspace_id=bindparam("workspace"),
    tenant_id=bindparam("tenant"),
    request_id=bindparam("request"),
    caller=bindparam("by"),
    reason=bindparam("why"),
    state=_S.CLAIMED.value,
    input_revision=bindparam("inputs"),
    lease_expire_time=_NEW_LEASE,
)
_RENEW: Final = (
    update(ProvisionRow)
    .where(_THIS)
    .values(
        state=case((_P.state == _S.FAILED.value, _S.CLAIMED.value), else_=_P.state),
        error_code=null(),
        error_message=null(),
        # What was handed out stays what it was made of, until it is handed out anew.
        input_revision=case(
            (_P.state == _S.ENV_DELIVERED.value, _P.input_revision), else_=bindparam("inputs")
        ),
        lease_expire_time=_NEW_LEASE,
    )
)
_DELIVER: Final = (
    update(ProvisionRow)
    .where(_THIS, _IS_OPEN, _P.lease_expire_time > func.clock_timestamp())
    .values(
        state=_S.ENV_DELIVERED.value,
        incarnation=bindparam("number"),
        input_revision=bindparam("inputs"),
        billing=bindparam("billing_document", type_=JSONB()),
        manifest=bindparam("manifest_document", type_=JSONB()),
        deliver_time=func.coalesce(_P.deliver_time, func.clock_timestamp()),
    )
    .returning(_P.__table__)
)
_LAUNCH: Final = """
WITH superseded AS (
    UPDATE provision.provisions SET state = 'SUPERSEDED'
    WHERE workspace_id = %(workspace_id)s AND provision_id <> %(provision_id)s
        AND state = ANY(%(unfinished)s)
)
UPDATE provision.workspaces
SET incarnation = %(incarnation)s, status = %(status)s, needs_launch_reason = NULL,
    needs_launch_since = NULL, update_time = clock_timestamp()
WHERE workspace_id = %(workspace_id)s
"""


def met(tx: Connection, *, workspace_id: str, caller: str, request_id: str) -> Claims:
    """What a new request meets. The workspace's row is locked."""
    asked = {"workspace_id": workspace_id, "caller": caller, "request_id": request_id}
    rows = tx.execute(_CLAIMS, asked).all()
    own = open_claim = None
    for row in rows:
        provision = provision_of(row)
        if provision.caller == caller and provision.request_id == request_id:
            own = provision
        if row.complete_time is None and row.state in OPEN:
            open_claim = provision
    return Claims(
        own=own,
        open_claim=open_claim,
        newest_id=rows[0].newest_id if rows else None,
        now=rows[0].now if rows else None,
    )


def add(
    tx: Connection,
    *,
    provision_id: str,
    workspace_id: str,
    tenant_id: str,
    request_id: str,
    caller: str,
    reason: ProvisionReason,
    input_revision: int,
    lease: timedelta,
) -> None:
    """Claim the workspace for a launch."""
    claim = {
        "id": provision_id,
        "workspace": workspace_id,
        "tenant": tenant_id,
        "request": request_id,
        "by": caller,
        "why": reason.value,
        "inputs": input_revision,
        "lease": lease,
    }
    tx.execute(_ADD, claim)


def renew(tx: Connection, provision_id: str, *, input_revision: int, lease: timedelta) -> None:
    """Go on with a claim that is held, or take a released one up again."""
    tx.execute(_RENEW, {"id": provision_id, "inputs": input_revision, "lease": lease})


def release(tx: Connection, provision_id: str, *, code: str, message: str) -> None:
    """The registry did not begin the launch: let others claim, and its own request again."""
    tx.execute(
        update(ProvisionRow)
        .where(_P.provision_id == provision_id, _P.state == _S.CLAIMED.value)
        .values(state=_S.FAILED.value, error_code=code, error_message=message)
    )


def end(tx: Connection, provision_id: str) -> None:
    """A claim whose lease ran out makes room for another.

    One that never began has LAPSED; of one that was handed out the registry knows how it ends.
    """
    _end(
        tx,
        provision_id,
        state=case((_P.state == _S.CLAIMED.value, _S.LAPSED.value), else_=_P.state),
    )


def open_claims(tx: Connection, workspace_ids: list[str]) -> dict[str, str]:
    """The launch that holds each of these workspaces, by workspace; its lease may have run out."""
    query = select(_P.workspace_id, _P.provision_id).where(
        _P.workspace_id.in_(workspace_ids), _IS_OPEN
    )
    return {row.workspace_id: row.provision_id for row in tx.execute(query)}


def supersede(tx: Connection, provision_id: str) -> None:
    """A launch that was fenced makes room for the one that lifts the fence."""
    _end(tx, provision_id, state=_S.SUPERSEDED.value)


def want(tx: Connection, provision_id: str) -> None:
    """Somebody joined an AUTO_RESTART that has not begun, and wants it in any case."""
    tx.execute(
        update(ProvisionRow)
        .where(
            _P.provision_id == provision_id,
            _P.state == _S.CLAIMED.value,
            _P.reason == ProvisionReason.AUTO_RESTART.value,
        )
        .values(wanted=True)
    )


def withdraw(tx: Connection, provision_id: str) -> bool:
    """Nothing needed the launch: its claim ends without having begun anything.

    False when somebody wants it in any case; then it stays.
    """
    return _end(
        tx,
        provision_id,
        ~_P.wanted,
        state=_S.SUPERSEDED.value,
        error_code=NOT_NEEDED,
        error_message="the registry says that no launch is needed any more",
    )


def refuse(tx: Connection, provision_id: str, *, code: str, message: str) -> None:
    """The registry will not begin the launch: its claim ends as FAILED."""
    _end(tx, provision_id, state=_S.FAILED.value, error_code=code, error_message=message)


def _end(
    tx: Connection, provision_id: str, *conditions: ColumnElement[bool], **values: Any
) -> bool:
    ended = tx.execute(
        update(ProvisionRow)
        .where(_P.provision_id == provision_id, _IS_OPEN, *conditions)
        .values(complete_time=func.clock_timestamp(), **values)
        .returning(_P.provision_id)
    )
    return ended.one_or_none() is not None


def deliver(
    tx: Connection,
    provision_id: str,
    *,
    incarnation: int,
    input_revision: int,
    billing: Billing,
    manifest: tuple[ManifestEntry, ...],
    current_input_revision: int,
) -> Provision | None:
    """The environment goes out; None when the claim is not held any more."""
    values: dict[str, Any] = {
        "id": provision_id,
        "number": incarnation,
        "inputs": input_revision,
        "billing_document": billing_document(billing),
        "manifest_document": manifest_document(manifest),
    }
    row = tx.execute(_DELIVER, values).one_or_none()
    return None if row is None else provision_of(row, current_input_revision)


def launch(
    tx: Connection,
    workspace_id: str,
    *,
    provision_id: str,
    incarnation: int,
    status: WorkspaceStatus,
) -> None:
    """The environment of a new incarnation goes out: every other launch of the workspace that
    is not over ends, and nobody has to be asked for one again.
    """
    newest = {
        "workspace_id": workspace_id,
        "provision_id": provision_id,
        "incarnation": incarnation,
        "status": status.value,
        "unfinished": list(UNFINISHED),
    }
    tx.exec_driver_sql(_LAUNCH, newest)


def supersede_all(tx: Connection, workspace_id: str) -> None:
    """End every launch of a workspace that is not over."""
    tx.execute(
        update(ProvisionRow)
        .where(_P.workspace_id == workspace_id, _P.state.in_(UNFINISHED))
        .values(state=_S.SUPERSEDED.value)
    )


def extend(tx: Connection, provision_id: str, lease: timedelta) -> None:
    """Hold the claim for another lease from now."""
    tx.execute(
        update(ProvisionRow)
        .where(_P.provision_id == provision_id)
        .values(lease_expire_time=func.clock_timestamp() + lease)
    )
