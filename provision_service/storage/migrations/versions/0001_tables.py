"""The tables of schema `provision`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table; there is no way back, since that would forget secrets."""
    op.create_table(
        "audit_events",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "event_id",
            sa.Uuid(as_uuid=False),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
        ),
        sa.Column(
            "create_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_events")),
        schema="provision",
    )
    op.create_index(
        "ix_audit_events_tenant",
        "audit_events",
        ["tenant_id", sa.literal_column("seq DESC")],
        unique=False,
        schema="provision",
    )
    op.create_index(
        "ix_audit_events_workspace",
        "audit_events",
        ["workspace_id", sa.literal_column("seq DESC")],
        unique=False,
        schema="provision",
    )
    op.create_table(
        "encryption_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column(
            "create_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_encryption_keys")),
        schema="provision",
    )
    op.create_table(
        "fingerprint_key",
        sa.Column("one_row", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.CheckConstraint("one_row", name=op.f("ck_fingerprint_key_one_row")),
        sa.PrimaryKeyConstraint("one_row", name=op.f("pk_fingerprint_key")),
        schema="provision",
    )
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("op", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "next_attempt_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column(
            "create_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("op IN ('ADMIT', 'RETIRE')", name=op.f("ck_outbox_op")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_outbox")),
        schema="provision",
    )
    op.create_index(
        "ix_outbox_due", "outbox", ["next_attempt_time"], unique=False, schema="provision"
    )
    op.create_index(
        "ix_outbox_workspace", "outbox", ["workspace_id", "seq"], unique=False, schema="provision"
    )
    op.create_table(
        "platform_credentials",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column(
            "create_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "source IN ('registered', 'usage_token')", name=op.f("ck_platform_credentials_source")
        ),
        sa.PrimaryKeyConstraint("name", "fingerprint", name=op.f("pk_platform_credentials")),
        schema="provision",
    )
    op.create_index(
        "ix_platform_credentials_fingerprint",
        "platform_credentials",
        ["fingerprint"],
        unique=False,
        schema="provision",
    )
    op.create_table(
        "reconciler",
        sa.Column("one_row", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "marks",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("paused_reason", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("one_row", name=op.f("ck_reconciler_one_row")),
        sa.PrimaryKeyConstraint("one_row", name=op.f("pk_reconciler")),
        schema="provision",
    )
    op.create_table(
        "requests",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("params_digest", sa.LargeBinary(), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "create_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint(
            "caller", "method", "scope", "request_id", name=op.f("pk_requests")
        ),
        schema="provision",
    )
    op.create_index(
        "ix_requests_create_time", "requests", ["create_time"], unique=False, schema="provision"
    )
    op.create_table(
        "tenants",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("default_billing", sa.Text(), nullable=True),
        sa.Column("usage_token_ciphertext", sa.LargeBinary(), nullable=True),
        sa.Column("usage_token_nonce", sa.LargeBinary(), nullable=True),
        sa.Column("usage_token_key_id", sa.Text(), nullable=True),
        sa.Column("input_revision", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "create_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenants")),
        schema="provision",
    )
    op.create_table(
        "workspaces",
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("runtime", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("max_concurrent_tasks", sa.Integer(), nullable=False),
        sa.Column("budget_limit_micros", sa.BigInteger(), nullable=True),
        sa.Column("compute", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("delivery_mode", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("workspace_access", sa.Text(), nullable=False),
        sa.Column("required_env", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("billing_mode_override", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("input_revision", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("admitted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "last_error", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("needs_launch_reason", sa.Text(), nullable=True),
        sa.Column("needs_launch_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "create_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "update_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("remove_time", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["provision.tenants.tenant_id"], name=op.f("fk_workspaces_tenant_id")
        ),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_workspaces")),
        schema="provision",
    )
    op.create_index(
        "ix_workspaces_needs_launch",
        "workspaces",
        ["needs_launch_since"],
        unique=False,
        schema="provision",
        postgresql_where=sa.text("needs_launch_reason IS NOT NULL"),
    )
    op.create_index(
        "ix_workspaces_newest",
        "workspaces",
        [sa.literal_column("create_time DESC"), sa.literal_column("workspace_id DESC")],
        unique=False,
        schema="provision",
    )
    op.create_index(
        "ix_workspaces_tenant_newest",
        "workspaces",
        [
            "tenant_id",
            sa.literal_column("create_time DESC"),
            sa.literal_column("workspace_id DESC"),
        ],
        unique=False,
        schema="provision",
    )
    op.create_table(
        "provisions",
        sa.Column("provision_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("input_revision", sa.BigInteger(), nullable=False),
        sa.Column(
            "billing", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column(
            "manifest",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("rerun_required", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column(
            "create_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("lease_expire_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deliver_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("complete_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("register_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("prove_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("observe_time", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["provision.workspaces.workspace_id"],
            name=op.f("fk_provisions_workspace_id"),
        ),
        sa.PrimaryKeyConstraint("provision_id", name=op.f("pk_provisions")),
        schema="provision",
    )
    op.create_index(
        "ix_provisions_never_came",
        "provisions",
        ["workspace_id"],
        unique=False,
        schema="provision",
        postgresql_where=sa.text("state = 'LAPSED' AND register_time IS NULL"),
    )
    op.create_index(
        "ix_provisions_newest",
        "provisions",
        [sa.literal_column("create_time DESC"), sa.literal_column("provision_id DESC")],
        unique=False,
        schema="provision",
    )
    op.create_index(
        "ix_provisions_tenant_newest",
        "provisions",
        [
            "tenant_id",
            sa.literal_column("create_time DESC"),
            sa.literal_column("provision_id DESC"),
        ],
        unique=False,
        schema="provision",
    )
    op.create_index(
        "ix_provisions_on_their_way",
        "provisions",
        ["create_time"],
        unique=False,
        schema="provision",
        postgresql_where=sa.text("state IN ('ENV_DELIVERED', 'LAUNCHED', 'REGISTERED')"),
    )
    op.create_index(
        "ix_provisions_workspace_newest",
        "provisions",
        [
            "workspace_id",
            sa.literal_column("create_time DESC"),
            sa.literal_column("provision_id DESC"),
        ],
        unique=False,
        schema="provision",
    )
    op.create_index(
        "uq_provisions_open_claim",
        "provisions",
        ["workspace_id"],
        unique=True,
        schema="provision",
        postgresql_where=sa.text("complete_time IS NULL AND state IN ('CLAIMED', 'ENV_DELIVERED')"),
    )
    op.create_index(
        "uq_provisions_request",
        "provisions",
        ["workspace_id", "caller", "request_id"],
        unique=True,
        schema="provision",
    )
    op.create_table(
        "secrets",
        sa.Column("secret_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("is_long", sa.Boolean(), nullable=False),
        sa.Column("undecryptable_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "create_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "update_time",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["provision.tenants.tenant_id"], name=op.f("fk_secrets_tenant_id")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["provision.workspaces.workspace_id"],
            name=op.f("fk_secrets_workspace_id"),
        ),
        sa.PrimaryKeyConstraint("secret_id", name=op.f("pk_secrets")),
        schema="provision",
    )
    op.create_index(
        "ix_secrets_fingerprint", "secrets", ["fingerprint"], unique=False, schema="provision"
    )
    op.create_index("ix_secrets_key_id", "secrets", ["key_id"], unique=False, schema="provision")
    op.create_index(
        "ix_secrets_tenant_workspaces",
        "secrets",
        ["tenant_id"],
        unique=False,
        schema="provision",
        postgresql_where=sa.text("workspace_id IS NOT NULL"),
    )
    op.create_index(
        "uq_secrets_global",
        "secrets",
        ["tenant_id", "key"],
        unique=True,
        schema="provision",
        postgresql_where=sa.text("workspace_id IS NULL"),
    )
    op.create_index(
        "uq_secrets_workspace",
        "secrets",
        ["workspace_id", "key"],
        unique=True,
        schema="provision",
        postgresql_where=sa.text("workspace_id IS NOT NULL"),
    )
