"""Whose credential a secret is; nothing is known of those that are stored already."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column that may be empty: an older version goes on without knowing it."""
    op.add_column("secrets", sa.Column("provider", sa.Text(), nullable=True), schema="provision")
