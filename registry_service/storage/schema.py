"""The registry's part of the database, as its migrations make it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agentworkspace.service.audit.tables import AuditLog
from agentworkspace.service.migrate import Schema
from registry_service.storage.models import Row

SCHEMA: Final = Schema(
    name="registry",
    tables=Row.metadata,
    versions=Path(__file__).with_name("migrations") / "versions",
    turn=7_101_000_001,
)
AUDIT: Final = AuditLog(schema="registry")
