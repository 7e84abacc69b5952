"""The tables of schema `provision`: what a workspace is, its secrets, and its launches.

Rows that only this service keeps for itself (outbox, request ids, audit, keys) are in
`models_internal`; both share this metadata.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA = "provision"
_CLOCK = text("clock_timestamp()")


class Base(DeclarativeBase):
    """One metadata, in one schema, with names for every constraint."""

    metadata = MetaData(
        schema=SCHEMA,
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        },
    )
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy reads it as a class attribute
        str: Text,
        bytes: LargeBinary,
        int: BigInteger,
        datetime: DateTime(timezone=True),
        UUID: Uuid(as_uuid=False),
    }


class TenantRow(Base):
    """A tenant as far as this service decides anything about it.

    `input_revision` counts writes of global secrets: every workspace's own count is shown
    with it added, so that such a write touches one row and not thousands.
    """

    __tablename__ = "tenants"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    default_billing: Mapped[str | None]
    usage_token_ciphertext: Mapped[bytes | None]
    usage_token_nonce: Mapped[bytes | None]
    usage_token_key_id: Mapped[str | None]
    input_revision: Mapped[int] = mapped_column(server_default="0")
    create_time: Mapped[datetime] = mapped_column(server_default=_CLOCK)


class WorkspaceRow(Base):
    """One workspace: its spec, how it is doing, and its two counters.

    `revision` counts writes of the spec (the etag), `input_revision` writes of anything
    of its own that a launch depends on. `billing_mode_override` is text on purpose: what
    an operator garbled by hand is ignored and reported, not lost.
    """

    __tablename__ = "workspaces"
    __table_args__ = (
        Index("ix_workspaces_newest", text("create_time DESC"), text("workspace_id DESC")),
        Index(
            "ix_workspaces_tenant_newest",
            "tenant_id",
            text("create_time DESC"),
            text("workspace_id DESC"),
        ),
        Index(
            "ix_workspaces_needs_launch",
            "needs_launch_since",
            postgresql_where=text("needs_launch_reason IS NOT NULL"),
        ),
    )

    workspace_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.tenant_id"))
    name: Mapped[str]
    runtime: Mapped[str]
    model: Mapped[str]
    template: Mapped[str]
    parent_id: Mapped[str | None] = mapped_column(Uuid(as_uuid=False))
    tier: Mapped[int] = mapped_column(Integer)
    role: Mapped[str]
    max_concurrent_tasks: Mapped[int] = mapped_column(Integer)
    budget_limit_micros: Mapped[int | None]
    compute: Mapped[dict[str, Any]] = mapped_column(JSONB)
    delivery_mode: Mapped[str]
    url: Mapped[str]
    workspace_access: Mapped[str]
    required_env: Mapped[list[str]] = mapped_column(ARRAY(Text))
    billing_mode_override: Mapped[str | None]
    status: Mapped[str]
    incarnation: Mapped[int] = mapped_column(server_default="0")
    revision: Mapped[int] = mapped_column(server_default="1")
    input_revision: Mapped[int] = mapped_column(server_default="1")
    admitted: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    last_error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    needs_launch_reason: Mapped[str | None]
    needs_launch_since: Mapped[datetime | None]
    create_time: Mapped[datetime] = mapped_column(server_default=_CLOCK)
    update_time: Mapped[datetime] = mapped_column(server_default=_CLOCK)
    remove_time: Mapped[datetime | None]


class SecretRow(Base):
    """One value at one place, encrypted. `workspace_id` null means the tenant's own.

    `fingerprint` is keyed, so equality can be asked in SQL without a value; `size_bytes`
    is key and value together, as the limit counts; `is_long` marks values that the audit
    of shared secrets compares. `provider` is whose credential its writer said it is.
    """

    __tablename__ = "secrets"
    __table_args__ = (
        Index(
            "uq_secrets_global",
            "tenant_id",
            "key",
            unique=True,
            postgresql_where=text("workspace_id IS NULL"),
        ),
        Index(
            "uq_secrets_workspace",
            "workspace_id",
            "key",
            unique=True,
            postgresql_where=text("workspace_id IS NOT NULL"),
        ),
        Index("ix_secrets_fingerprint", "fingerprint"),
        Index("ix_secrets_key_id", "key_id"),
        Index(
            "ix_secrets_tenant_workspaces",
            "tenant_id",
            postgresql_where=text("workspace_id IS NOT NULL"),
        ),
    )

    secret_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.tenant_id"))
    workspace_id: Mapped[str | None] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("workspaces.workspace_id")
    )
    key: Mapped[str]
    ciphertext: Mapped[bytes]
    nonce: Mapped[bytes]
    key_id: Mapped[str]
    fingerprint: Mapped[bytes]
    size_bytes: Mapped[int] = mapped_column(Integer)
    is_long: Mapped[bool]
    provider: Mapped[str | None]
    undecryptable_since: Mapped[datetime | None]
    create_time: Mapped[datetime] = mapped_column(server_default=_CLOCK)
    update_time: Mapped[datetime] = mapped_column(server_default=_CLOCK)
    updated_by: Mapped[str]


class ProvisionRow(Base):
    """One launch, and while it is open the claim of its workspace.

    Open: not completed, and CLAIMED or ENV_DELIVERED. A claim that was released because
    the registry did not answer is FAILED without a `complete_time`; its own request takes
    it up again.
    """

    __tablename__ = "provisions"
    __table_args__ = (
        Index(
            "uq_provisions_open_claim",
            "workspace_id",
            unique=True,
            postgresql_where=text(
                "complete_time IS NULL AND state IN ('CLAIMED', 'ENV_DELIVERED')"
            ),
        ),
        Index("uq_provisions_request", "workspace_id", "caller", "request_id", unique=True),
        Index("ix_provisions_newest", text("create_time DESC"), text("provision_id DESC")),
        Index(
            "ix_provisions_workspace_newest",
            "workspace_id",
            text("create_time DESC"),
            text("provision_id DESC"),
        ),
        Index(
            "ix_provisions_tenant_newest",
            "tenant_id",
            text("create_time DESC"),
            text("provision_id DESC"),
        ),
        Index(
            "ix_provisions_on_their_way",
            "create_time",
            postgresql_where=text("state IN ('ENV_DELIVERED', 'LAUNCHED', 'REGISTERED')"),
        ),
    )

    provision_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(
        Uuid(as_uuid=False), ForeignKey("workspaces.workspace_id")
    )
    tenant_id: Mapped[str]
    request_id: Mapped[str]
    caller: Mapped[str]
    reason: Mapped[str]
    state: Mapped[str]
    incarnation: Mapped[int] = mapped_column(server_default="0")
    input_revision: Mapped[int]
    billing: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    manifest: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    rerun_required: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    # An AUTO_RESTART that somebody joined who wants a launch whatever the registry thinks.
    wanted: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    outcome: Mapped[str | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    create_time: Mapped[datetime] = mapped_column(server_default=_CLOCK)
    lease_expire_time: Mapped[datetime]
    deliver_time: Mapped[datetime | None]
    complete_time: Mapped[datetime | None]
    register_time: Mapped[datetime | None]
    prove_time: Mapped[datetime | None]
    observe_time: Mapped[datetime | None]
