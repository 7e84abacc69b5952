"""List what a workspace would get, or what a tenant has: names, scopes, times, no values."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.refusal import Refusal, SharedReason
from provision_service.commands import access, paging
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSecretsResult:
    """A page of the merged view, by update time, newest first."""

    secrets: tuple[SecretEntry, ...]
    next_page_token: str


def run(store: Store, command: ListSecrets) -> ListSecretsResult:
    """Read a page."""
    listing = ("secrets", command.tenant_id, command.workspace_id)
    place = paging.read_token(listing, command.page_token, 2)
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
            after=(paging.time_of(place[0]), place[1]) if place else None,
            limit=command.page_size + 1,
        )
    shown = found[: command.page_size]
    token = ""
    if len(found) > command.page_size:
        last = shown[-1]
        token = paging.make_token(listing, [last.update_time.isoformat(), last.key])
    return ListSecretsResult(secrets=tuple(shown), next_page_token=token)


def _same_tenant(command: ListSecrets, tenant_id: str) -> str:
    """The workspace's tenant, which a tenant that was also named must be."""
    if command.tenant_id and command.tenant_id != tenant_id:
        raise Refusal(
            SharedReason.WORKSPACE_UNKNOWN,
            f"tenant `{command.tenant_id}` has no workspace {command.workspace_id}",
            metadata={"workspace_id": command.workspace_id, "tenant_id": command.tenant_id},
        )
    return tenant_id
