"""One change as the commands report it to the audit; the audit adds who made it and how."""

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
