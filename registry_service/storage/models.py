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
    """The row that every decision locks. No frequent call writes it."""

    __tablename__ = "workspaces"

    workspace_id: Mapped[str] = mapped_column(_uuid(), primary_key=True)
    # Empty for the tombstone of a workspace the registry never knew.
    tenant_id: Mapped[str]
    create_time: Mapped[datetime]
    incarnation: Mapped[int] = mapped_column(server_default=ZERO)
    registered_incarnation: Mapped[int] = mapped_column(server_default=ZERO)
    # When the newest launch began.
    launch_time: Mapped[datetime | None]
    ticket_required: Mapped[bool] = mapped_column(server_default=FALSE)
    # The fence that answers; if both stand, SUSPENDED.
    fence: Mapped[str | None]
    # Whether COMPROMISED stands, too. Means something only while `fence` is set.
    compromised: Mapped[bool] = mapped_column(server_default=FALSE)
    retire_time: Mapped[datetime | None]
    evidence_required: Mapped[bool] = mapped_column(server_default=FALSE)
    # The newest box deregistered, and none was admitted since.
    box_left: Mapped[bool] = mapped_column(server_default=FALSE)
    # When it was marked as restored from a backup; the next launch clears it.
    restore_time: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("fence IN ('COMPROMISED', 'SUSPENDED')", name="fence"),
        CheckConstraint("registered_incarnation <= incarnation", name="incarnation"),
        Index(None, "create_time", "workspace_id"),
        Index(None, "tenant_id", "create_time", "workspace_id"),
    )


class RegistrationRow(Row):
    """What the box said of itself: one row a workspace, which heartbeats write.

    No index covers what every heartbeat writes, and pages have room, so that updates are HOT
    (heap-only tuples) and touch no index.
    """

    __tablename__ = "registrations"

    workspace_id: Mapped[str] = mapped_column(
        _uuid(), ForeignKey(WorkspaceRow.workspace_id), primary_key=True
    )
    state: Mapped[str] = mapped_column(server_default=text("'PENDING'"))
    # Of the box that registered last; a late report of an older one is not written.
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
    # The box that reported last has deregistered; heartbeats that were on their way do not count.
    deregistered: Mapped[bool] = mapped_column(server_default=FALSE)
    rejected_count: Mapped[int] = mapped_column(server_default=ZERO)
    rejected_last_time: Mapped[datetime | None]
    rejected_last_reason: Mapped[str | None]
    failure_reason: Mapped[str | None]
    failure_time: Mapped[datetime | None]
    failure_incarnation: Mapped[int | None]
    # The id of the last transaction that changed what a watcher wants to know; a heartbeat that
    # says nothing new does not. A watcher that has read all changes before the oldest transaction
    # that was still running continues there, and misses none.
    changed: Mapped[int] = mapped_column(server_default=ZERO)
    # The newest ticket whose holder was told RELAUNCH, and when the present series of refusals
    # began and was last added to.
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
    """Tokens of every kind, tickets too, in one table, so that a hash is usable only once, ever."""

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
    # The outcome of the Register that minted it.
    outcome: Mapped[str | None]
    # The token that dies at this one's first use.
    replaces: Mapped[str | None] = mapped_column(_uuid())
    # The evidence it was minted on.
    minted_on: Mapped[str | None] = mapped_column(_uuid())
    client_made: Mapped[bool] = mapped_column(server_default=FALSE)
    request_id: Mapped[str | None] = mapped_column(_uuid())
    # Who asked for it, and for exactly what: this tells a repeated request from another one that
    # has the same hash.
    created_by: Mapped[str] = mapped_column(server_default=EMPTY)
    issue_digest: Mapped[bytes | None]
    # Of an instance token: no evidence was shown for it, or for the token it was minted on.
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
        # No index covers `last_use_time`, so with room on the page its updates are HOT.
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
    """One row. Its lock is taken last and held until the commit, so that revisions are given out in
    commit order.
    """

    __tablename__ = "feed"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(server_default=ZERO)
    # Revocations up to this revision are no longer kept.
    swept_revision: Mapped[int] = mapped_column(server_default=ZERO)

    __table_args__ = (CheckConstraint("id = 1", name="single"),)


class RevocationRow(Row):
    __tablename__ = "revocations"

    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant_id: Mapped[str]
    # Exactly one of these is set: it ends one token, or tokens of a workspace.
    token_sha256: Mapped[bytes | None]
    workspace_id: Mapped[str | None] = mapped_column(_uuid())
    reason: Mapped[str]
    create_time: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("(token_sha256 IS NULL) <> (workspace_id IS NULL)", name="subject"),
    )


class PulseRow(Row):
    """One row that every replica writes: since when some replica was always up."""

    __tablename__ = "pulse"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    last_time: Mapped[datetime]
    up_since: Mapped[datetime]

    __table_args__ = (CheckConstraint("id = 1", name="single"),)


class AuditSealRow(AuditSealColumns, Row):
    """Seals, which prove that no row of the audit was changed or removed."""


class AuditEventRow(Row):
    __tablename__ = EVENTS

    # The id of the transaction that wrote it; rows are sealed in this order. 0 for rows that are
    # older than the seals.
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
