"""What follows every change: its audit, and, last of all, the feed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection

from agentworkspace.core.ids import TenantId, WorkspaceId
from registry_service.commands.origin import Origin
from registry_service.domain.standing import Workspace
from registry_service.domain.tokens import RevokeReason, Token
from registry_service.storage import audit, feed
from registry_service.storage.audit import Change
from registry_service.storage.feed import Entry


def record(connection: Connection, origin: Origin, changes: Sequence[Change]) -> None:
    audit.append(
        connection,
        changes,
        actor=origin.actor,
        method=origin.method,
        correlation_id=origin.correlation_id,
    )


def change(
    workspace: Workspace,
    action: str,
    subject: str = "",
    details: Mapping[str, object] | None = None,
) -> Change:
    return change_of(workspace.workspace_id, workspace.tenant_id, action, subject, details)


def change_of(
    workspace_id: WorkspaceId,
    tenant_id: TenantId,
    action: str,
    subject: str = "",
    details: Mapping[str, object] | None = None,
) -> Change:
    return Change(
        action=action,
        tenant_id=tenant_id,
        workspace_id=workspace_id,
        subject=subject,
        details={name: str(value) for name, value in (details or {}).items()},
    )


def minted(workspace: Workspace, token: Token, **details: object) -> Change:
    """Also of a ticket, which is issued like any token."""
    facts: dict[str, object] = {"kind": token.kind, "client_made": str(token.client_made).lower()}
    if token.incarnation:
        facts["incarnation"] = token.incarnation
    return change(workspace, "token.minted", token.token_id, facts | details)


def revoked(
    workspace: Workspace, tokens: Iterable[Token], reason: RevokeReason, note: str = ""
) -> list[Change]:
    facts = {"reason": reason.value} | ({"note": note} if note else {})
    return [
        change(workspace, "token.revoked", token.token_id, {"kind": token.kind.value} | facts)
        for token in tokens
    ]


def entries(workspace: Workspace, tokens: Iterable[Token], reason: RevokeReason) -> list[Entry]:
    """For the feed, one for each token."""
    return [
        Entry(tenant_id=workspace.tenant_id, token_sha256=token.token_sha256, reason=reason)
        for token in tokens
    ]


def entry_for_all(workspace: Workspace, reason: RevokeReason) -> Entry:
    """One for every token of the workspace: whoever drops more than it must asks again."""
    return Entry(tenant_id=workspace.tenant_id, workspace_id=workspace.workspace_id, reason=reason)


def publish(connection: Connection, news: Sequence[Entry]) -> int:
    """The last statement of a revoking transaction. The revision that carries the news."""
    return feed.append(connection, news) if news else feed.revision(connection)
