"""The tables of the registry"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_events",
        sa.Column(
            "event_id",
            sa.Uuid(as_uuid=False),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
        ),
        sa.Column(
            "time",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("audit_events_pkey")),
        schema="registry",
    )
    op.create_index(
        op.f("audit_events_tenant_id_time_event_id_idx"),
        "audit_events",
        ["tenant_id", "time", "event_id"],
        schema="registry",
    )
    op.create_index(
        op.f("audit_events_time_event_id_idx"),
        "audit_events",
        ["time", "event_id"],
        schema="registry",
    )
    op.create_index(
        op.f("audit_events_workspace_id_time_event_id_idx"),
        "audit_events",
        ["workspace_id", "time", "event_id"],
        schema="registry",
    )
    op.create_table(
        "feed",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("swept_revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("feed_single_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("feed_pkey")),
        schema="registry",
    )
    op.create_table(
        "pulse",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("last_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("up_since", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("pulse_single_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("pulse_pkey")),
        schema="registry",
    )
    op.create_table(
        "requests",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("request_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("params_digest", sa.LargeBinary(), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "caller", "method", "workspace_id", "request_id", name=op.f("requests_pkey")
        ),
        schema="registry",
    )
    op.create_index(
        op.f("requests_create_time_idx"), "requests", ["create_time"], schema="registry"
    )
    op.create_table(
        "revocations",
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(token_sha256 IS NULL) <> (workspace_id IS NULL)",
            name=op.f("revocations_subject_check"),
        ),
        sa.PrimaryKeyConstraint("revision", name=op.f("revocations_pkey")),
        schema="registry",
    )
    op.create_table(
        "workspaces",
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "registered_incarnation", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("launch_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ticket_required", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("fence", sa.Text(), nullable=True),
        sa.Column("retire_time", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "fence IN ('COMPROMISED', 'SUSPENDED')", name=op.f("workspaces_fence_check")
        ),
        sa.CheckConstraint(
            "registered_incarnation <= incarnation", name=op.f("workspaces_incarnation_check")
        ),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("workspaces_pkey")),
        schema="registry",
    )
    op.create_index(
        op.f("workspaces_create_time_workspace_id_idx"),
        "workspaces",
        ["create_time", "workspace_id"],
        schema="registry",
    )
    op.create_index(
        op.f("workspaces_tenant_id_create_time_workspace_id_idx"),
        "workspaces",
        ["tenant_id", "create_time", "workspace_id"],
        schema="registry",
    )
    op.create_table(
        "registrations",
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'PENDING'"), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "healthy_incarnation", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("url", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("delivery_mode", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("agent_card", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("runtime", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("runtime_version", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("register_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_heartbeat_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("active_tasks", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("sample_error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("deregistered", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("rejected_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rejected_last_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rejected_last_reason", sa.Text(), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.Column("failure_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failure_incarnation", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state IN ('PENDING', 'ONLINE', 'DEGRADED', 'OFFLINE', 'REMOVED')",
            name=op.f("registrations_state_check"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["registry.workspaces.workspace_id"],
            name=op.f("registrations_workspace_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("registrations_pkey")),
        schema="registry",
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "tokens",
        sa.Column(
            "token_id",
            sa.Uuid(as_uuid=False),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
        ),
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("prefix", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("label", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "scopes", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("incarnation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_use_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_use_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoke_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoke_reason", sa.Text(), nullable=True),
        sa.Column("revoke_note", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("replaces", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("minted_on", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("client_made", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("request_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("created_by", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("issue_digest", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("kind IN ('INSTANCE', 'API', 'TICKET')", name=op.f("tokens_kind_check")),
        sa.CheckConstraint(
            "(revoke_time IS NULL) = (revoke_reason IS NULL)",
            name=op.f("tokens_revoke_reason_check"),
        ),
        sa.CheckConstraint("length(token_sha256) = 32", name=op.f("tokens_token_sha256_check")),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["registry.workspaces.workspace_id"],
            name=op.f("tokens_workspace_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("token_id", name=op.f("tokens_pkey")),
        schema="registry",
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        op.f("tokens_minted_on_idx"),
        "tokens",
        ["minted_on"],
        schema="registry",
        postgresql_where=sa.text("minted_on IS NOT NULL"),
    )
    op.create_index(
        "tokens_token_sha256_key", "tokens", ["token_sha256"], unique=True, schema="registry"
    )
    op.create_index(
        "tokens_unrevoked_idx",
        "tokens",
        ["workspace_id", "kind"],
        schema="registry",
        postgresql_where=sa.text("revoke_time IS NULL"),
    )
    op.create_index(
        op.f("tokens_workspace_id_create_time_token_id_idx"),
        "tokens",
        ["workspace_id", "create_time", "token_id"],
        schema="registry",
    )
    # The one row of the feed: revocations lock it to get their revision.
    op.execute("INSERT INTO registry.feed (id) VALUES (1)")
