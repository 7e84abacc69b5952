"""The feed of revocations, in commit order."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.ids import TenantId, WorkspaceId
from registry_service.domain.tokens import RevokeReason
from registry_service.storage import feed
from registry_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRevocations:
    after_revision: int
    limit: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """The end of one token, or, when `workspace_id` is set, of every token of that workspace."""

    revision: int
    tenant_id: TenantId
    token_sha256: bytes | None
    workspace_id: WorkspaceId | None
    reason: RevokeReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocations:
    # In order; the first `limit` after `after_revision`.
    events: tuple[Revocation, ...]
    # The newest of the feed.
    revision: int
    # What came after `after_revision` is no longer (or not at all) known: drop every cache.
    reset: bool


def run(store: Store, command: ReadRevocations) -> Revocations:
    with store.reading() as tx:
        excerpt = feed.read(tx, after=command.after_revision, limit=command.limit)
    events = tuple(
        Revocation(
            revision=revision,
            tenant_id=entry.tenant_id,
            token_sha256=entry.token_sha256,
            workspace_id=entry.workspace_id,
            reason=entry.reason,
        )
        for revision, entry in excerpt.entries
    )
    # Ahead of the feed: what the caller saw belongs to a database that was set back since.
    ahead = command.after_revision > excerpt.newest
    return Revocations(
        events=events,
        revision=excerpt.newest,
        reset=ahead or command.after_revision < excerpt.swept,
    )
