"""RetireWorkspace: ends a workspace for ever."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from agentworkspace.core.caller import Caller
from agentworkspace.core.ids import TenantId, WorkspaceId
from agentworkspace.core.refusal import Refusal
from registry_service.commands import grounds, recording
from registry_service.commands.origin import Origin
from registry_service.domain.refusals import Reason
from registry_service.domain.tokens import RevokeReason, TokenKind
from registry_service.storage import registrations, revocation, workspaces
from registry_service.storage.store import Store
from registry_service.storage.workspaces import Known


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireWorkspace:
    """`tenant_id` must be that of the workspace, if given. An id that is unknown leaves a
    tombstone, a retired row, which gets this tenant.
    """

    origin: Origin
    caller: Caller
    workspace_id: WorkspaceId
    tenant_id: TenantId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetiredWorkspace:
    # How many instance and api tokens were revoked.
    revoked_count: int
    revision: int


def run(store: Store, command: RetireWorkspace) -> RetiredWorkspace:
    """Refusals: TENANT_FORBIDDEN, TENANT_MISMATCH."""
    with store.transaction() as tx:
        known = _found_or_buried(tx, command)
        workspace, reason = known.workspace, RevokeReason.REMOVED
        ended = workspaces.retire(tx, workspace.workspace_id, known.now)
        registrations.remove(tx, workspace.workspace_id)
        gone = revocation.revoke_kinds(
            tx, workspace.workspace_id, frozenset(TokenKind), reason=reason, now=known.now
        )
        changes = recording.revoked(workspace, gone, reason)
        if ended:
            changes.append(recording.change(workspace, "workspace.retired"))
        recording.record(tx, command.origin, changes)
        news = [recording.entry_for_all(workspace, reason)] if gone else []
        return RetiredWorkspace(
            revoked_count=sum(token.kind in (TokenKind.INSTANCE, TokenKind.API) for token in gone),
            revision=recording.publish(tx, news),
        )


def _found_or_buried(tx: Connection, command: RetireWorkspace) -> Known:
    """The workspace, locked; for an unknown id a tombstone is written first."""
    tenant_id = command.tenant_id or TenantId("")
    known = workspaces.lock(tx, command.workspace_id)
    if known is None:
        command.caller.require_owner(tenant_id, "workspace", command.workspace_id)
        if workspaces.insert(tx, command.workspace_id, tenant_id, retired=True):
            buried = recording.change_of(command.workspace_id, tenant_id, "workspace.retired")
            recording.record(tx, command.origin, [buried])
        known = workspaces.lock_present(tx, command.workspace_id)
    workspace = known.workspace
    grounds.require_owner(command.caller, known, command.workspace_id)
    if tenant_id not in ("", workspace.tenant_id):
        raise Refusal(
            Reason.TENANT_MISMATCH,
            "the workspace id belongs to another tenant",
            metadata={"workspace_id": command.workspace_id},
        )
    return known
