"""First use: written before the answer leaves, and the end of the token it replaces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from agentworkspace.core.ids import TokenId
from registry_service.commands import recording
from registry_service.commands.origin import Origin
from registry_service.domain.standing import Workspace
from registry_service.domain.tokens import RevokeReason, Token
from registry_service.storage import revocation, token_uses, workspaces
from registry_service.storage.feed import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Somebody presented this live token."""

    token: Token
    workspace: Workspace
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    # Revoked between the reading and the writing: not to be accepted.
    died: frozenset[TokenId] = frozenset()
    # Another transaction decides about it: to be looked at again, alone.
    busy: frozenset[TokenId] = frozenset()
    # What the caller's transaction must publish last.
    news: tuple[Entry, ...] = ()


def write(tx: Connection, uses: Iterable[Use], *, now: datetime, patient: bool = True) -> Written:
    """Note the first use of those that were never used before. Locks the workspaces of those that
    replace another.

    Without patience nothing is waited for: one busy workspace must not hold up many callers.
    """
    first = {use.token.token_id: use for use in uses if not use.token.is_used()}
    if not first:
        return Written()
    replacing = {token_id: use for token_id, use in first.items() if use.token.replaces}
    busy = _busy(tx, replacing, patient=patient)
    free = sorted(first.keys() - busy)
    marked = token_uses.mark_first_use(tx, free, now, patient=patient)
    news: list[Entry] = []
    for token_id in sorted(replacing.keys() & marked.marked):
        news += _end_predecessor(tx, replacing[token_id], now)
    return Written(died=marked.dead, busy=busy | marked.busy, news=tuple(news))


def _busy(tx: Connection, replacing: Mapping[TokenId, Use], *, patient: bool) -> frozenset[TokenId]:
    """Which of them could not be written: their workspace could not be locked."""
    if not replacing:
        return frozenset()
    wanted = sorted({use.workspace.workspace_id for use in replacing.values()})
    locked = workspaces.lock_all(tx, wanted, patient=patient)
    return frozenset(
        token_id for token_id, use in replacing.items() if use.workspace.workspace_id not in locked
    )


def _end_predecessor(tx: Connection, use: Use, now: datetime) -> list[Entry]:
    replaced = use.token.dies_at_first_use()
    predecessor = revocation.supersede(tx, replaced, now) if replaced else None
    if predecessor is None:
        return []
    changes = recording.revoked(use.workspace, [predecessor], RevokeReason.ROTATED)
    recording.record(tx, use.origin, changes)
    return recording.entries(use.workspace, [predecessor], RevokeReason.ROTATED)
