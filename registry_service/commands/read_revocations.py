"""Reads the feed of revocations, in commit order."""

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
    """The end of one token, or, if `workspace_id` is set, of tokens of that workspace: then forget
    what is cached of any of them.
    """

    revision: int
    tenant_id: TenantId
    token_sha256: bytes | None
    workspace_id: WorkspaceId | None
    reason: RevokeReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocations:
    # In order; the first `limit` after `after_revision`.
    events: tuple[Revocation, ...]
    # The newest revision of the feed.
    revision: int
    # What came after `after_revision` is not, or no longer, known: drop every cache.
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
    # A caller ahead of the feed read it before the database was restored to an earlier state.
    ahead = command.after_revision > excerpt.newest
    return Revocations(
        events=events,
        revision=excerpt.newest,
        reset=ahead or command.after_revision < excerpt.swept,
    )
