"""The tables of schema `registry`. The migrations must agree with them (`alembic check`)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from agentworkspace.service.audit.tables import EVENTS, XACT, AuditSealColumns

SCHEMA: Final = "registry"


class Row(DeclarativeBase):
    metadata = MetaData(
        schema=SCHEMA,
        naming_convention={
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "pk": "%(table_name)s_pkey",
        },
    )
    type_annotation_map = {  # noqa: RUF012 -- read by SQLAlchemy while the class is made
        str: Text,
        int: BigInteger,
        bytes: LargeBinary,
        datetime: DateTime(timezone=True),
        list[str]: ARRAY(Text),
        dict[str, Any]: JSONB,
    }


def _uuid() -> Uuid[str]:
    return Uuid(as_uuid=False)


EMPTY = text("''")
ZERO = text("0")
FALSE = text("false")


class WorkspaceRow(Row):
    """The row that every decision locks. Nothing hot writes it."""

    __tablename__ = "workspaces"

    workspace_id: Mapped[str] = mapped_column(_uuid(), primary_key=True)
    # Empty for the tombstone of a workspace the registry never knew.
    tenant_id: Mapped[str]
    create_time: Mapped[datetime]
    incarnation: Mapped[int] = mapped_column(server_default=ZERO)
    registered_incarnation: Mapped[int] = mapped_column(server_default=ZERO)
    # Of the newest BeginIncarnation.
    launch_time: Mapped[datetime | None]
    ticket_required: Mapped[bool] = mapped_column(server_default=FALSE)
    # Of two fences the one that answers: SUSPENDED.
    fence: Mapped[str | None]
    # Means something only while `fence` is set: COMPROMISED stands, too.
    compromised: Mapped[bool] = mapped_column(server_default=FALSE)
    retire_time: Mapped[datetime | None]
    evidence_required: Mapped[bool] = mapped_column(server_default=FALSE)
    # The newest box deregistered, and none was admitted since.
    box_left: Mapped[bool] = mapped_column(server_default=FALSE)
    # Found to stem from a backup; ends with the next launch.
    restore_time: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("fence IN ('COMPROMISED', 'SUSPENDED')", name="fence"),
        CheckConstraint("registered_incarnation <= incarnation", name="incarnation"),
        Index(None, "create_time", "workspace_id"),
        Index(None, "tenant_id", "create_time", "workspace_id"),
    )


class RegistrationRow(Row):
    """What the box said of itself: one row a workspace, written by every heartbeat.

    No index on what a steady heartbeat writes, and room on the page: updates stay in place (HOT).
    """

    __tablename__ = "registrations"

    workspace_id: Mapped[str] = mapped_column(
        _uuid(), ForeignKey(WorkspaceRow.workspace_id), primary_key=True
    )
    state: Mapped[str] = mapped_column(server_default=text("'PENDING'"))
    # Of the box that registered last: an older one that comes late writes nothing.
    incarnation: Mapped[int] = mapped_column(server_default=ZERO)
    healthy_incarnation: Mapped[int] = mapped_column(server_default=ZERO)
    url: Mapped[str] = mapped_column(server_default=EMPTY)
    delivery_mode: Mapped[str] = mapped_column(server_default=EMPTY)
    agent_card: Mapped[dict[str, Any] | None]
    runtime: Mapped[str] = mapped_column(server_default=EMPTY)
    runtime_version: Mapped[str] = mapped_column(server_default=EMPTY)
    register_time: Mapped[datetime | None]
    last_heartbeat_time: Mapped[datetime | None]
    active_tasks: Mapped[int] = mapped_column(server_default=ZERO)
    sample_error: Mapped[str] = mapped_column(server_default=EMPTY)
    # The box heard of last deregistered: heartbeats that were on their way are no sign of life.
    deregistered: Mapped[bool] = mapped_column(server_default=FALSE)
    rejected_count: Mapped[int] = mapped_column(server_default=ZERO)
    rejected_last_time: Mapped[datetime | None]
    rejected_last_reason: Mapped[str | None]
    failure_reason: Mapped[str | None]
    failure_time: Mapped[datetime | None]
    failure_incarnation: Mapped[int | None]
    # The transaction that changed last what a watcher would look at; no steady heartbeat does.
    # Transaction ids grow as snapshots do, so that whoever reads up to the oldest one that is
    # still running misses none.
    changed: Mapped[int] = mapped_column(server_default=ZERO)
    # The newest ticket whose holder is told RELAUNCH, and from when to when without a pause.
    refused_ticket: Mapped[str | None] = mapped_column(_uuid())
    refused_since: Mapped[datetime | None]
    refused_last: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(
            "state IN ('PENDING', 'ONLINE', 'DEGRADED', 'OFFLINE', 'REMOVED')", name="state"
        ),
        Index(None, "changed", "workspace_id"),
        {"postgresql_with": {"fillfactor": "70"}},
    )


class TokenRow(Row):
    """Tokens of every kind, tickets too, in one table: a hash is usable once, ever."""

    __tablename__ = "tokens"

    token_id: Mapped[str] = mapped_column(
        _uuid(), primary_key=True, server_default=text("gen_random_uuid()")
    )
    workspace_id: Mapped[str] = mapped_column(_uuid(), ForeignKey(WorkspaceRow.workspace_id))
    kind: Mapped[str]
    token_sha256: Mapped[bytes]
    prefix: Mapped[str] = mapped_column(server_default=EMPTY)
    label: Mapped[str] = mapped_column(server_default=EMPTY)
    scopes: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    incarnation: Mapped[int] = mapped_column(server_default=ZERO)
    create_time: Mapped[datetime]
    expire_time: Mapped[datetime | None]
    # Of a ticket: when it was redeemed.
    first_use_time: Mapped[datetime | None]
    last_use_time: Mapped[datetime | None]
    # Of a ticket: when it was voided.
    revoke_time: Mapped[datetime | None]
    revoke_reason: Mapped[str | None]
    revoke_note: Mapped[str] = mapped_column(server_default=EMPTY)
    # What the Register that minted it answered.
    outcome: Mapped[str | None]
    # The token that dies at this one's first use.
    replaces: Mapped[str | None] = mapped_column(_uuid())
    # The evidence it was minted on.
    minted_on: Mapped[str | None] = mapped_column(_uuid())
    client_made: Mapped[bool] = mapped_column(server_default=FALSE)
    request_id: Mapped[str | None] = mapped_column(_uuid())
    # Who asked for it, and for exactly what: tells a replay by hash from a clash.
    created_by: Mapped[str] = mapped_column(server_default=EMPTY)
    issue_digest: Mapped[bytes | None]
    # Of an instance token: no evidence stood behind it, or behind the one it was minted on.
    unproven: Mapped[bool] = mapped_column(server_default=FALSE)

    __table_args__ = (
        CheckConstraint("kind IN ('INSTANCE', 'API', 'TICKET', 'PROXY')", name="kind"),
        CheckConstraint("length(token_sha256) = 32", name="token_sha256"),
        CheckConstraint("(revoke_time IS NULL) = (revoke_reason IS NULL)", name="revoke_reason"),
        Index("tokens_token_sha256_key", "token_sha256", unique=True),
        Index(None, "workspace_id", "create_time", "token_id"),
        Index(
            "tokens_unrevoked_idx",
            "workspace_id",
            "kind",
            postgresql_where=text("revoke_time IS NULL"),
        ),
        Index(
            "tokens_tickets_idx",
            "workspace_id",
            "incarnation",
            "create_time",
            postgresql_where=text("kind = 'TICKET'"),
        ),
        Index(None, "minted_on", postgresql_where=text("minted_on IS NOT NULL")),
        # `last_use_time` is in no index: with room on the page no index is written for it (HOT).
        {"postgresql_with": {"fillfactor": "80"}},
    )


class RequestRow(Row):
    """Answers given to a request_id: ids and facts, never a secret. Kept for 24 hours."""

    __tablename__ = "requests"

    caller: Mapped[str] = mapped_column(primary_key=True)
    method: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(_uuid(), primary_key=True)
    request_id: Mapped[str] = mapped_column(_uuid(), primary_key=True)
    params_digest: Mapped[bytes]
    result: Mapped[dict[str, Any]]
    create_time: Mapped[datetime]

    __table_args__ = (Index(None, "create_time"),)


class FeedRow(Row):
    """One row. Its lock is taken last and held until commit, so `revision` follows commits."""

    __tablename__ = "feed"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(server_default=ZERO)
    # What came up to here is no longer kept.
    swept_revision: Mapped[int] = mapped_column(server_default=ZERO)

    __table_args__ = (CheckConstraint("id = 1", name="single"),)


class RevocationRow(Row):
    __tablename__ = "revocations"

    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant_id: Mapped[str]
    # One token, or every token of a workspace.
    token_sha256: Mapped[bytes | None]
    workspace_id: Mapped[str | None] = mapped_column(_uuid())
    reason: Mapped[str]
    create_time: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("(token_sha256 IS NULL) <> (workspace_id IS NULL)", name="subject"),
    )


class PulseRow(Row):
    """One row that every replica writes: since when boxes could be heard without a gap."""

    __tablename__ = "pulse"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    last_time: Mapped[datetime]
    up_since: Mapped[datetime]

    __table_args__ = (CheckConstraint("id = 1", name="single"),)


class AuditSealRow(AuditSealColumns, Row):
    """What proves the rows of the audit."""


class AuditEventRow(Row):
    __tablename__ = EVENTS

    # The transaction that wrote it: what is sealed is in this order. 0: older than the seals.
    xact: Mapped[int] = mapped_column(primary_key=True, server_default=text(XACT))
    event_id: Mapped[str] = mapped_column(
        _uuid(), primary_key=True, server_default=text("gen_random_uuid()")
    )
    time: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    actor: Mapped[str]
    method: Mapped[str]
    action: Mapped[str]
    tenant_id: Mapped[str]
    workspace_id: Mapped[str | None] = mapped_column(_uuid())
    subject: Mapped[str]
    details: Mapped[dict[str, Any]]
    correlation_id: Mapped[str]

    __table_args__ = (
        Index(None, "time", "event_id"),
        Index(None, "tenant_id", "time", "event_id"),
        Index(None, "workspace_id", "time", "event_id"),
    )
