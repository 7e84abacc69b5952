"""An audit that can be proven."""

from __future__ import annotations

from alembic import op

from agentworkspace.service.audit.migration import make_sealable

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expands only: an older version writes rows as it did."""
    make_sealable("provision")
    op.create_index(
        "ix_audit_events_place", "audit_events", ["xact", "event_id"], schema="provision"
    )
