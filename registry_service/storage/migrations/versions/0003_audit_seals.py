"""An audit that can be proven, and rows of it that concern no workspace

Expands only. A registry of the version before shows such a row with the workspace `None`.
"""

from __future__ import annotations

from alembic import op

from agentworkspace.service.audit.migration import make_sealable

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    make_sealable("registry")
    op.execute("ALTER TABLE registry.audit_events ALTER COLUMN workspace_id DROP NOT NULL")
    # The order of sealing takes the place of an index that nothing read.
    op.execute(
        "ALTER TABLE registry.audit_events DROP CONSTRAINT audit_events_pkey,"
        " ADD CONSTRAINT audit_events_pkey PRIMARY KEY (xact, event_id)"
    )
