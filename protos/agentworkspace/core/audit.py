"""What an audit says: one change, by whom, through which method; names and numbers, no secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change. `details` holds names and numbers, never a secret."""

    action: str
    tenant_id: str
    workspace_id: str | None
    subject: str = ""
    details: Mapping[str, str]
