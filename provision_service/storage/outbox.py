"""The outbox: what the registry has to hear, in order per workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum, unique
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.orm import aliased

from agentworkspace.service.prepared import Prepared, array
from provision_service.domain.registry_port import Admission
from provision_service.storage.models_internal import OutboxRow
from provision_service.storage.store import Store

_O = OutboxRow
_RETIRE: Final = """
INSERT INTO provision.outbox (workspace_id, tenant_id, op, payload, next_attempt_time)
VALUES (%(workspace_id)s, %(tenant_id)s, 'RETIRE', '{}', clock_timestamp() + %(not_before)s)
"""
# Prepared, since every create ends with it.
_CONFIRM_ADMISSIONS: Final = Prepared(
    "confirm_admissions",
    """
WITH told AS (
    DELETE FROM provision.outbox
    WHERE workspace_id = ANY(%(workspace_ids)s::uuid[]) AND op = 'ADMIT'
)
UPDATE provision.workspaces SET admitted = true
WHERE workspace_id = ANY(%(workspace_ids)s::uuid[]) AND NOT admitted
""",
)


@unique
class Op(StrEnum):
    """What the registry is told."""

    ADMIT = "ADMIT"
    RETIRE = "RETIRE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message; `first_token_sha256` is of an ADMIT with a token that the caller made.

    `admission` says which workspace a message is about, also for a RETIRE.
    """

    seq: int
    op: Op
    attempts: int
    admission: Admission
    first_token_sha256: str | None


def admission_payload(admission: Admission, first_token_sha256: str | None) -> dict[str, Any]:
    """What an ADMIT says beside its workspace and tenant."""
    return {
        "first_token_sha256": first_token_sha256,
        "ticket_required": admission.ticket_required,
        "evidence_required": admission.evidence_required,
        "remembered_incarnation": admission.remembered_incarnation,
        "suspended": admission.suspended,
    }


def admit_again(tx: Connection, admission: Admission) -> None:
    """Queue an admission that tells the registry anew what is known of a workspace. One that waits
    already is completed, and made due.
    """
    known = {
        "remembered_incarnation": admission.remembered_incarnation,
        "suspended": admission.suspended,
    }
    waiting = tx.execute(
        update(OutboxRow)
        .where(_O.workspace_id == admission.workspace_id, _O.op == Op.ADMIT.value)
        .values(payload=_O.payload.op("||")(known), next_attempt_time=func.clock_timestamp())
    )
    if not waiting.rowcount:
        message = {"workspace_id": admission.workspace_id, "tenant_id": admission.tenant_id}
        payload = admission_payload(admission, None)
        tx.execute(insert(OutboxRow).values(op=Op.ADMIT.value, payload=payload, **message))


def add_retire(tx: Connection, *, workspace_id: str, tenant_id: str, not_before: timedelta) -> None:
    """Queue a retirement, due when `not_before` has passed."""
    message = {"workspace_id": workspace_id, "tenant_id": tenant_id, "not_before": not_before}
    tx.exec_driver_sql(_RETIRE, message)


def due(tx: Connection, limit: int) -> list[Message]:
    """The first message of each workspace, where it is due, oldest first."""
    earlier = aliased(OutboxRow)
    is_first = ~(
        select(earlier.seq)
        .where(earlier.workspace_id == _O.workspace_id, earlier.seq < _O.seq)
        .exists()
    )
    query = (
        select(_O.__table__)
        .where(_O.next_attempt_time <= func.clock_timestamp(), is_first)
        .order_by(_O.seq)
        .limit(limit)
    )
    return [_message(row) for row in tx.execute(query)]


def pending_admission(tx: Connection, workspace_id: str) -> Message | None:
    """The admission of a workspace that the registry has not confirmed yet."""
    query = select(_O.__table__).where(_O.workspace_id == workspace_id, _O.op == Op.ADMIT.value)
    row = tx.execute(query.order_by(_O.seq).limit(1)).one_or_none()
    return None if row is None else _message(row)


def confirm_admissions(tx: Connection, workspace_ids: Sequence[str]) -> None:
    """The registry knows these workspaces: forget the messages and say so on the workspaces."""
    _CONFIRM_ADMISSIONS.run(tx, {"workspace_ids": array(workspace_ids)})


def forget(tx: Connection, seq: int) -> None:
    """The message is delivered, or moot."""
    tx.execute(delete(OutboxRow).where(_O.seq == seq))


def forget_workspace(tx: Connection, workspace_id: str) -> None:
    """The registry has retired the workspace: whatever else it was to hear is moot."""
    tx.execute(delete(OutboxRow).where(_O.workspace_id == workspace_id))


def drop_first_token(tx: Connection, workspace_id: str) -> None:
    """Admit without the caller's token from now on, and at once."""
    tx.execute(
        update(OutboxRow)
        .where(_O.workspace_id == workspace_id, _O.op == Op.ADMIT.value)
        .values(
            payload=_O.payload.op("||")({"first_token_sha256": None}),
            next_attempt_time=func.clock_timestamp(),
        )
    )


def postpone(tx: Connection, seq: int, *, wait: timedelta, why: str) -> None:
    """Try again later."""
    tx.execute(
        update(OutboxRow)
        .where(_O.seq == seq)
        .values(
            attempts=_O.attempts + 1,
            next_attempt_time=func.clock_timestamp() + wait,
            last_error=why[:500],
        )
    )


def _message(row: Any) -> Message:
    return Message(
        seq=row.seq,
        op=Op(row.op),
        attempts=row.attempts,
        admission=Admission(
            workspace_id=row.workspace_id,
            tenant_id=row.tenant_id,
            # A message of an older version lacks what that version did not know.
            ticket_required=bool(row.payload.get("ticket_required", False)),
            evidence_required=bool(row.payload.get("evidence_required", False)),
            remembered_incarnation=int(row.payload.get("remembered_incarnation", 0)),
            suspended=bool(row.payload.get("suspended", False)),
        ),
        first_token_sha256=row.payload.get("first_token_sha256"),
    )


def without_first_token(message: Message) -> Message:
    """The same admission, without a token."""
    return replace(message, first_token_sha256=None)


@dataclass(frozen=True, slots=True)
class OutboxDepth:
    """Messages that wait, and for how many seconds the oldest has."""

    messages: int
    oldest_seconds: float


def depth(store: Store) -> OutboxDepth:
    """Count them by the database's clock."""
    age = func.extract("epoch", func.clock_timestamp() - func.min(OutboxRow.create_time))
    with store.reading() as tx:
        messages, oldest = tx.execute(select(func.count(), age).select_from(OutboxRow)).one()
    return OutboxDepth(messages, max(0.0, float(oldest or 0)))
