"""Replicas report the encryption keys that they hold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A new table, of which an older version knows nothing: it writes with a new key at once."""
    op.create_table(
        "key_holders",
        sa.Column("replica_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_ids", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("wants", sa.Text(), nullable=False),
        sa.Column("writes_with", sa.Text(), nullable=False),
        sa.Column("lease_expire_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("replica_id", name=op.f("pk_key_holders")),
        schema="provision",
    )
