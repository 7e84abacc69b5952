"""Launches that somebody wants in any case; nothing looks for boxes that never came."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column with a constant default: an older version goes on without knowing it.

    The registry says since now whose box never came, so nothing reads the index any more; an
    older version finds the same rows without it.
    """
    op.add_column(
        "provisions",
        sa.Column("wanted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        schema="provision",
    )
    op.drop_index("ix_provisions_never_came", table_name="provisions", schema="provision")
