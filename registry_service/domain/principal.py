"""The principal: whom a token speaks for."""

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
    # In alphabetical order.
    scopes: tuple[str, ...]
    incarnation: int
    expire_time: datetime | None
    # Whether the token was minted on evidence, and so was every token that it goes back to.
    evidence_backed: bool
