"""List what a workspace would get, or what a tenant has: names, scopes, times, no values."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.service import paging
from agentworkspace.service.paging import Page
from provision_service.commands import access
from provision_service.commands.call import Call
from provision_service.domain.records import SecretEntry
from provision_service.storage import secrets
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSecrets:
    """At least one of tenant and workspace is given; without a workspace, the tenant's own."""

    call: Call
    tenant_id: str = ""
    workspace_id: str = ""
    page_size: int = 50
    page_token: str = ""


def run(store: Store, command: ListSecrets) -> Page[SecretEntry]:
    """Read a page of the merged view, by update time, newest first."""
    after = paging.place(command, paging.time, paging.text)
    with store.reading() as tx:
        tenant_id = command.tenant_id
        if command.workspace_id:
            workspace = access.read_workspace(tx, command.call, command.workspace_id).workspace
            tenant_id = _same_tenant(command, workspace.tenant_id)
        command.call.caller.require_tenant(tenant_id)
        found = secrets.page(
            tx,
            tenant_id=tenant_id,
            workspace_id=command.workspace_id or None,
            after=after,
            limit=command.page_size + 1,
        )
    return paging.page(command, found, lambda last: (last.update_time, last.key))


def _same_tenant(command: ListSecrets, tenant_id: str) -> str:
    """The workspace's tenant. WORKSPACE_UNKNOWN when the request names another one."""
    if command.tenant_id and command.tenant_id != tenant_id:
        raise Refusal(
            SharedReason.WORKSPACE_UNKNOWN,
            f"tenant `{command.tenant_id}` has no workspace {command.workspace_id}",
            metadata={"workspace_id": command.workspace_id, "tenant_id": command.tenant_id},
        )
    return tenant_id
