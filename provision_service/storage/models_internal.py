"""Tables that no answer shows as they are: keys, platform credentials, outbox, requests, audit."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Identity,
    Index,
    Integer,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from agentworkspace.service.audit.tables import EVENTS, XACT, AuditSealColumns
from provision_service.storage.models import Base

_CLOCK = text("clock_timestamp()")


class PlatformCredentialRow(Base):
    """A value that is the platform's own, by keyed fingerprint.

    `source` is `registered` or `usage_token`. For a usage token `tenant_id` is the tenant
    it serves: of the deployment's own token, the single tenant that took it first.
    """

    __tablename__ = "platform_credentials"
    __table_args__ = (
        Index("ix_platform_credentials_fingerprint", "fingerprint"),
        CheckConstraint("source IN ('registered', 'usage_token')", name="source"),
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(primary_key=True)
    source: Mapped[str]
    tenant_id: Mapped[str | None]
    create_time: Mapped[datetime] = mapped_column(server_default=_CLOCK)


class EncryptionKeyRow(Base):
    """The canary of one encryption key: a known text under it, tried at every start."""

    __tablename__ = "encryption_keys"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    ciphertext: Mapped[bytes]
    nonce: Mapped[bytes]
    create_time: Mapped[datetime] = mapped_column(server_default=_CLOCK)


class KeyHolderRow(Base):
    """The encryption keys that one serving process holds, as it said last; see `Holder`."""

    __tablename__ = "key_holders"

    replica_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    name: Mapped[str]
    key_ids: Mapped[list[str]] = mapped_column(ARRAY(Text))
    wants: Mapped[str]
    writes_with: Mapped[str]
    lease_expire_time: Mapped[datetime]


class FingerprintKeyRow(Base):
    """The key of all fingerprints: made once, kept encrypted like a secret."""

    __tablename__ = "fingerprint_key"
    __table_args__ = (CheckConstraint("one_row", name="one_row"),)

    one_row: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default=text("true"))
    ciphertext: Mapped[bytes]
    nonce: Mapped[bytes]
    key_id: Mapped[str]


class OutboxRow(Base):
    """One message the registry has not heard yet; in order of `seq` per workspace."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_workspace", "workspace_id", "seq"),
        Index("ix_outbox_due", "next_attempt_time"),
        CheckConstraint("op IN ('ADMIT', 'RETIRE')", name="op"),
    )

    seq: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(Uuid(as_uuid=False))
    tenant_id: Mapped[str]
    op: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    next_attempt_time: Mapped[datetime] = mapped_column(server_default=_CLOCK)
    last_error: Mapped[str | None]
    create_time: Mapped[datetime] = mapped_column(server_default=_CLOCK)


class RequestRow(Base):
    """An answered request id: `scope` is the workspace, or the tenant of a create.

    The digest is keyed, since the parameters of a create hold secrets.
    """

    __tablename__ = "requests"
    __table_args__ = (Index("ix_requests_create_time", "create_time"),)

    caller: Mapped[str] = mapped_column(primary_key=True)
    method: Mapped[str] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True)
    request_id: Mapped[str] = mapped_column(primary_key=True)
    params_digest: Mapped[bytes]
    result: Mapped[dict[str, Any]] = mapped_column(JSONB)
    create_time: Mapped[datetime] = mapped_column(server_default=_CLOCK)


class AuditEventRow(Base):
    """One change; only ever inserted, in the transaction of the change."""

    __tablename__ = EVENTS
    __table_args__ = (
        Index("ix_audit_events_place", "xact", "event_id"),
        Index("ix_audit_events_tenant", "tenant_id", text("seq DESC")),
        Index("ix_audit_events_workspace", "workspace_id", text("seq DESC")),
    )

    seq: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    # The id of the transaction that wrote it: seals go by this order. 0: older than all seals.
    xact: Mapped[int] = mapped_column(server_default=text(XACT))
    event_id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), server_default=text("gen_random_uuid()")
    )
    create_time: Mapped[datetime] = mapped_column(server_default=_CLOCK)
    actor: Mapped[str]
    method: Mapped[str]
    action: Mapped[str]
    tenant_id: Mapped[str]
    workspace_id: Mapped[str | None] = mapped_column(Uuid(as_uuid=False))
    subject: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB)
    correlation_id: Mapped[str]


class AuditSealRow(AuditSealColumns, Base):
    """Seals over the rows of the audit, by which a later change of a row shows."""


class ReconcilerRow(Base):
    """The one row that replicas lock to mark workspaces. `marks` is a list of [time in seconds,
    workspaces marked], one for each round of the last minute that marked any.
    """

    __tablename__ = "reconciler"
    __table_args__ = (CheckConstraint("one_row", name="one_row"),)

    one_row: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default=text("true"))
    marks: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    paused_reason: Mapped[str] = mapped_column(server_default="")
