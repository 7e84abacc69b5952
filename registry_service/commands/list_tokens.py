"""ListTokens: the tokens of a workspace, newest first, without tickets."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import WorkspaceId
from agentworkspace.service import paging
from agentworkspace.service.paging import Page
from registry_service.commands import grounds
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


def run(store: Store, command: ListTokens) -> Page[ListedToken]:
    """Refusals: WORKSPACE_UNKNOWN, TENANT_FORBIDDEN, INVALID_REQUEST (a foreign page_token)."""
    before = paging.place(command, paging.time, paging.uuid)
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
    listed = [ListedToken(token=row.token, revoke_note=row.revoke_note) for row in rows]
    return paging.page(command, listed, lambda last: (last.token.create_time, last.token.token_id))
