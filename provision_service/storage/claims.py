"""The claim of a workspace: at most one is open, and it is held for a lease."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Interval,
    Row,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.orm import aliased

from agentworkspace.service.prepared import Prepared, array, arrays_of, columns
from provision_service.domain.lifecycle import ProvisionReason, ProvisionState, WorkspaceStatus
from provision_service.domain.records import Billing, ManifestEntry, Provision
from provision_service.storage.documents import billing_document, manifest_document
from provision_service.storage.models import ProvisionRow
from provision_service.storage.provisions import (
    OPEN,
    UNFINISHED,
    provision_of,
    stored_provision,
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
    """The launches that a new request for a workspace meets.

    `own` was asked for by the same request, `open_claim` holds the workspace (it may be `own`).
    When there is one of these, `newest_id` is the launch that was claimed last and `now` the
    database's clock.
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
# An item gets no row where a launch holds its workspace, or its request was seen before.
_ADD_FREE: Final = Prepared(
    "claim",
    """
INSERT INTO provision.provisions (
    provision_id, workspace_id, tenant_id, request_id, caller, reason, state, input_revision,
    lease_expire_time
)
SELECT provision_id, workspace_id, tenant_id, request_id, caller, reason, 'CLAIMED',
       input_revision, clock_timestamp() + %(lease)s::interval
FROM unnest(
    %(provision_id)s::uuid[], %(workspace_id)s::uuid[], %(tenant_id)s::text[],
    %(request_id)s::text[], %(caller)s::text[], %(reason)s::text[], %(input_revision)s::bigint[]
) AS item (provision_id, workspace_id, tenant_id, request_id, caller, reason, input_revision)
WHERE NOT EXISTS (
    -- With an OFFSET it is asked for each item by index; joined, a plan may read every launch.
    SELECT FROM provision.provisions p
    WHERE p.workspace_id = item.workspace_id
        AND ((p.complete_time IS NULL AND p.state IN ('CLAIMED', 'ENV_DELIVERED'))
             OR (p.caller = item.caller AND p.request_id = item.request_id))
    OFFSET 0
)
RETURNING provision_id::text
""",
)
_RENEW: Final = (
    update(ProvisionRow)
    .where(_THIS)
    .values(
        state=case((_P.state == _S.FAILED.value, _S.CLAIMED.value), else_=_P.state),
        error_code=null(),
        error_message=null(),
        # An environment keeps the revision that it was made of until it is handed out anew.
        input_revision=case(
            (_P.state == _S.ENV_DELIVERED.value, _P.input_revision), else_=bindparam("inputs")
        ),
        lease_expire_time=_NEW_LEASE,
    )
)
# The environment of a new incarnation goes out: every other launch of the workspace that is not
# over ends, and the workspace no longer asks to be launched.
_DELIVER: Final = Prepared(
    "deliver",
    f"""
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest(
        %(provision_id)s::uuid[], %(workspace_id)s::uuid[], %(tenant_id)s::text[],
        %(incarnation)s::bigint[], %(input_revision)s::bigint[], %(billing)s::jsonb[],
        %(manifest)s::jsonb[], %(status)s::text[], %(caller)s::text[], %(method)s::text[],
        %(correlation_id)s::text[], %(facts)s::jsonb[]
    ) AS item (
        provision_id, workspace_id, tenant_id, incarnation, input_revision, billing, manifest,
        status, caller, method, correlation_id, facts
    )
), delivered AS (
    UPDATE provision.provisions p
    SET state = 'ENV_DELIVERED', incarnation = wanted.incarnation,
        input_revision = wanted.input_revision, billing = wanted.billing,
        manifest = wanted.manifest,
        deliver_time = coalesce(p.deliver_time, clock_timestamp())
    FROM wanted
    WHERE p.provision_id = wanted.provision_id
        -- Not `IS NULL`, by which a plan may read the index of all open claims.
        AND coalesce(p.complete_time, 'infinity') = 'infinity'
        AND p.state IN ('CLAIMED', 'ENV_DELIVERED') AND p.lease_expire_time > clock_timestamp()
    RETURNING p.*
), superseded AS (
    UPDATE provision.provisions p SET state = 'SUPERSEDED'
    FROM delivered
    WHERE p.workspace_id = delivered.workspace_id AND p.provision_id <> delivered.provision_id
        AND p.state = ANY(%(unfinished)s::text[])
), launched AS (
    UPDATE provision.workspaces w
    SET incarnation = wanted.incarnation, status = wanted.status, needs_launch_reason = NULL,
        needs_launch_since = NULL, update_time = clock_timestamp()
    FROM wanted JOIN delivered USING (provision_id)
    WHERE w.workspace_id = wanted.workspace_id
), audited AS (
    INSERT INTO provision.audit_events
        (actor, method, action, tenant_id, workspace_id, subject, details, correlation_id)
    SELECT wanted.caller, method, 'workspace.launch', wanted.tenant_id, wanted.workspace_id,
           wanted.provision_id::text, facts || jsonb_build_object('reason', delivered.reason),
           correlation_id
    FROM wanted JOIN delivered USING (provision_id)
)
SELECT {columns(ProvisionRow.__table__, but=("billing", "manifest"))} FROM delivered
""",  # noqa: S608 - only names of columns are put in
)


def met(tx: Connection, *, workspace_id: str, caller: str, request_id: str) -> Claims:
    """What a new request meets. The workspace's row is locked."""
    asked = {"workspace_id": workspace_id, "caller": caller, "request_id": request_id}
    rows = tx.execute(_CLAIMS, asked).all()
    own = open_claim = None
    for row in rows:
        provision = stored_provision(row)
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


class NewClaim(NamedTuple):
    """A workspace, which is locked, claimed for a launch."""

    provision_id: str
    workspace_id: str
    tenant_id: str
    request_id: str
    caller: str
    reason: ProvisionReason
    input_revision: int


class Delivery(NamedTuple):
    """What goes out to the box of a launch, whose workspace is locked. `facts` are for the audit;
    `current_input_revision`: what its inputs are by now.
    """

    provision_id: str
    workspace_id: str
    tenant_id: str
    incarnation: int
    input_revision: int
    current_input_revision: int
    billing: Billing
    manifest: tuple[ManifestEntry, ...]
    status: WorkspaceStatus
    caller: str
    method: str
    correlation_id: str
    facts: Mapping[str, str]


def add_free(tx: Connection, items: Sequence[NewClaim], *, lease: timedelta) -> frozenset[str]:
    """The ids of those that were claimed; each is of another workspace."""
    rows = _ADD_FREE.run(tx, {**arrays_of(items), "lease": lease})
    return frozenset(row.provision_id for row in rows)


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


def deliver_all(tx: Connection, items: Sequence[Delivery]) -> dict[str, Provision]:
    """The environments go out; by id, the launches whose claim is still held."""
    parameters: dict[str, Any] = {
        **arrays_of(items),
        "billing": array(json.dumps(billing_document(item.billing)) for item in items),
        "manifest": array(json.dumps(manifest_document(item.manifest)) for item in items),
        "facts": array(json.dumps(dict(item.facts)) for item in items),
        "unfinished": array(UNFINISHED),
    }
    by_id = {item.provision_id: item for item in items}
    found = _DELIVER.run(tx, parameters)
    return {row.provision_id: _delivered(row, by_id[row.provision_id]) for row in found}


def _delivered(row: Row[Any], item: Delivery) -> Provision:
    """The launch as it is stored by now; what was just written is not read back."""
    return provision_of(
        row,
        current_input_revision=item.current_input_revision,
        billing=item.billing,
        manifest=item.manifest,
    )


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
