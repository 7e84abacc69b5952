"""Writes the first use of a token, which ends the token that it replaces.

That is done before the call is answered.
"""

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
    # Tokens that were revoked after they were read: do not accept them.
    died: frozenset[TokenId] = frozenset()
    # Tokens that another transaction holds: look at each of them again, alone.
    busy: frozenset[TokenId] = frozenset()
    # Entries of the feed, which the caller must publish as its transaction's last statement.
    news: tuple[Entry, ...] = ()


def write(tx: Connection, uses: Iterable[Use], *, now: datetime, patient: bool = True) -> Written:
    """Write the first use of those that were never used before. For a token that replaces another,
    its workspace is locked.

    Without `patient` no lock is waited for, so that one busy workspace does not hold up a batch.
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
    """Lock their workspaces; returns the tokens whose workspace could not be locked."""
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
