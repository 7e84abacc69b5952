"""The provision's part of the database, as its migrations make it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agentworkspace.service.audit.tables import AuditLog
from agentworkspace.service.migrate import Schema
from provision_service.storage.models_internal import AuditEventRow

SCHEMA: Final = Schema(
    name="provision",
    tables=AuditEventRow.metadata,
    versions=Path(__file__).with_name("migrations") / "versions",
    turn=0x70726F76,
)
AUDIT: Final = AuditLog(schema="provision", time="create_time", order=("seq",), more=("seq",))
