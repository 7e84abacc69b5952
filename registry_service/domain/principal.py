"""Whom a token speaks for."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from agentworkspace.core.ids import TenantId, TokenId, WorkspaceId
from agentworkspace.core.token_format import TokenKind


class Principal(NamedTuple):
    """Whom a live token speaks for. A tuple: one is made for every check."""

    workspace_id: WorkspaceId
    tenant_id: TenantId
    token_id: TokenId
    kind: TokenKind
    # Sorted.
    scopes: tuple[str, ...]
    incarnation: int
    expire_time: datetime | None
    # Whether evidence stood behind the token, and behind those that it was minted on.
    evidence_backed: bool
