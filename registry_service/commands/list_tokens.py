"""ListTokens: the tokens of a workspace, newest first, never tickets."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import WorkspaceId
from registry_service.commands import grounds, paging
from registry_service.commands.views import ListedToken
from registry_service.storage import tokens, workspaces
from registry_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTokens:
    caller: Caller
    workspace_id: WorkspaceId
    include_revoked: bool = False
    include_proxy: bool = False
    page_size: int = 50
    page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPage:
    tokens: tuple[ListedToken, ...]
    next_page_token: str


def run(store: Store, command: ListTokens) -> TokenPage:
    """Refusals: WORKSPACE_UNKNOWN, TENANT_FORBIDDEN, INVALID_REQUEST (a foreign page_token)."""
    filters: dict[str, object] = {
        "list": "tokens",
        "workspace_id": command.workspace_id,
        "include_revoked": command.include_revoked,
    }
    if command.include_proxy:
        filters["include_proxy"] = True
    before = paging.decode(filters, command.page_token)
    with store.reading() as tx:
        grounds.known_to(
            command.caller,
            workspaces.read(tx, command.workspace_id),
            command.workspace_id,
        )
        rows = tokens.page(
            tx,
            command.workspace_id,
            include_dead=command.include_revoked,
            include_proxy=command.include_proxy,
            before=before,
            limit=command.page_size + 1,
        )
    shown = rows[: command.page_size]
    more = len(rows) > len(shown)
    return TokenPage(
        tokens=tuple(ListedToken(token=row.token, revoke_note=row.revoke_note) for row in shown),
        next_page_token=(
            paging.encode(filters, shown[-1].token.create_time, shown[-1].token.token_id)
            if more
            else ""
        ),
    )
