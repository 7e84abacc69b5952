"""What every change writes besides: its audit, and, last of all, its entry in the feed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from agentworkspace.core.audit import Change
from agentworkspace.core.ids import TenantId, WorkspaceId
from agentworkspace.service.audit import events
from registry_service.commands.origin import Origin
from registry_service.domain.standing import Workspace
from registry_service.domain.tokens import RevokeReason, Token, TokenKind
from registry_service.storage import feed, revocation
from registry_service.storage.feed import Entry
from registry_service.storage.models import SCHEMA


def record(tx: Connection, origin: Origin, changes: Sequence[Change]) -> None:
    events.append(
        tx,
        SCHEMA,
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
    workspace_id: WorkspaceId | None,
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
    """The audit entry of a new token or ticket."""
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
    """An entry of the feed for each token, but none for tickets, which no verifier caches."""
    return [
        Entry(tenant_id=workspace.tenant_id, token_sha256=token.token_sha256, reason=reason)
        for token in tokens
        if token.kind is not TokenKind.TICKET
    ]


def entry_for_all(workspace: Workspace, reason: RevokeReason) -> Entry:
    """One entry of the feed for all tokens of the workspace. A verifier that forgets live ones
    because of it just asks for them again.
    """
    return Entry(tenant_id=workspace.tenant_id, workspace_id=workspace.workspace_id, reason=reason)


def publish(tx: Connection, news: Sequence[Entry]) -> int:
    """Write entries to the feed; must be the last statement of the transaction. Returns the
    revision of the last one; without entries, the feed's revision as it is.

    For each instance token that ends, the proxy token of its incarnation is published, too: it is
    not accepted while no instance token is live. If another one is, verifiers just ask again.
    """
    if not news:
        return feed.revision(tx)
    by_hash = {entry.token_sha256: entry for entry in news if entry.token_sha256}
    proxies = revocation.proxies_of(tx, list(by_hash)) if by_hash else []
    more = [
        replace(by_hash[of], token_sha256=proxy) for of, proxy in proxies if proxy not in by_hash
    ]
    return feed.append(tx, [*news, *more])
