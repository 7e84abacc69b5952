"""In safely, out for good: fences that stand beside each other, proof, proxies, changes

Expands only: a registry of the version before reads and writes these tables as it did, so that
replicas of both may serve while one replaces the other.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A Register without evidence stored no `minted_on`; break-glass tokens have no outcome. Whatever
# was minted on such a token is as little proven as it was.
_UNPROVEN = """
WITH RECURSIVE unproven AS (
    SELECT token_id FROM registry.tokens
    WHERE kind = 'INSTANCE' AND minted_on IS NULL AND outcome IS NOT NULL
    UNION
    SELECT made.token_id FROM registry.tokens made
    JOIN unproven ON made.minted_on = unproven.token_id
    WHERE made.kind = 'INSTANCE'
)
UPDATE registry.tokens t SET unproven = true FROM unproven WHERE t.token_id = unproven.token_id
"""
# Only the newest box leaves the workspace; one that came late just goes.
_LEFT = """
UPDATE registry.workspaces w SET box_left = true FROM registry.registrations r
WHERE r.workspace_id = w.workspace_id AND r.deregistered AND r.incarnation = w.incarnation
"""


def upgrade() -> None:
    _flag("workspaces", "evidence_required")
    _flag("workspaces", "compromised")
    _flag("workspaces", "box_left")
    _column("workspaces", sa.Column("restore_time", sa.DateTime(timezone=True), nullable=True))
    op.execute(_LEFT)
    _flag("tokens", "unproven")
    op.execute(_UNPROVEN)
    op.execute("ALTER TABLE registry.tokens DROP CONSTRAINT tokens_kind_check")
    op.execute(
        "ALTER TABLE registry.tokens ADD CONSTRAINT tokens_kind_check"
        " CHECK (kind IN ('INSTANCE', 'API', 'TICKET', 'PROXY'))"
    )
    op.create_index(
        "tokens_tickets_idx",
        "tokens",
        ["workspace_id", "incarnation", "create_time"],
        schema="registry",
        postgresql_where=sa.text("kind = 'TICKET'"),
    )
    _column(
        "registrations",
        sa.Column("changed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    _column("registrations", sa.Column("refused_ticket", sa.Uuid(as_uuid=False), nullable=True))
    for name in ("refused_since", "refused_last"):
        _column("registrations", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        op.f("registrations_changed_workspace_id_idx"),
        "registrations",
        ["changed", "workspace_id"],
        schema="registry",
    )


def _flag(table: str, name: str) -> None:
    _column(table, sa.Column(name, sa.Boolean(), server_default=sa.text("false"), nullable=False))


def _column(table: str, column: sa.Column[object]) -> None:
    op.add_column(table, column, schema="registry")
