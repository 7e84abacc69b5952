"""What an audit says: one change, by whom, through which method; names and numbers, no secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change. `details` holds names and numbers, never a secret."""

    action: str
    tenant_id: str
    workspace_id: str | None
    subject: str = ""
    details: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One change, as it was written in its own transaction. `workspace_id` may be empty."""

    event_id: str
    time: datetime
    actor: str
    method: str
    action: str
    tenant_id: str
    workspace_id: str
    subject: str
    details: Mapping[str, str]
    correlation_id: str
