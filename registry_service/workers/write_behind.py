"""What is remembered in memory for a moment, to be written by a background task.

Losing it with the process is allowed: it informs, and decides nothing. Only the event loop
touches these.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Final

from agentworkspace.core.ids import TokenId, WorkspaceId
from agentworkspace.core.refusal import SharedReason
from registry_service.commands.register import RegisterRefused
from registry_service.commands.views import RegisterFailure
from registry_service.workers.flush_rejected_registers import NewestRefused, RefusedRegisters

MOST_WORKSPACES: Final = 100_000


class LastUses:
    """The newest use of each token since the last flush."""

    def __init__(self) -> None:
        self._uses: dict[TokenId, datetime] = {}

    def note(self, token_id: TokenId, time: datetime) -> None:
        known = self._uses.get(token_id)
        if known is None or known < time:
            self._uses[token_id] = time

    def take(self) -> dict[TokenId, datetime]:
        """All of them; they are forgotten here."""
        uses, self._uses = self._uses, {}
        return uses

    def put_back(self, uses: dict[TokenId, datetime], busy: Collection[TokenId]) -> None:
        """Keep those of `uses` that could not be written for the next time."""
        for token_id in busy:
            self.note(token_id, uses[token_id])


class RefusedLedger:
    """Refused registers by workspace since the last flush."""

    def __init__(self, most: int = MOST_WORKSPACES) -> None:
        self._counted: dict[WorkspaceId, RefusedRegisters] = {}
        self._most = most

    def note(self, refused: RegisterRefused) -> None:
        """Unknown workspaces are not counted: there is nowhere to write that, and no end to it."""
        if refused.reason is SharedReason.WORKSPACE_UNKNOWN:
            return
        failure = None
        if refused.recognised:
            failure = RegisterFailure(
                reason=refused.reason, time=refused.time, incarnation=refused.incarnation
            )
        self._add(
            RefusedRegisters(
                workspace_id=refused.workspace_id,
                count=1,
                last_time=refused.time,
                last_reason=refused.reason,
                failure=failure,
                newest=NewestRefused(
                    ticket=refused.newest_ticket, first=refused.time, last=refused.time
                )
                if refused.newest_ticket
                else None,
            )
        )

    def take(self) -> list[RefusedRegisters]:
        """All of them, one entry a workspace; they are forgotten here."""
        counted, self._counted = self._counted, {}
        return list(counted.values())

    def put_back(
        self, counted: Collection[RefusedRegisters], busy: Collection[WorkspaceId]
    ) -> None:
        for each in counted:
            if each.workspace_id in busy:
                self._add(each)

    def _add(self, more: RefusedRegisters) -> None:
        known = self._counted.get(more.workspace_id)
        if known is None:
            if len(self._counted) < self._most:
                self._counted[more.workspace_id] = more
            return
        older, newer = sorted((known, more), key=lambda each: each.last_time)
        self._counted[more.workspace_id] = replace(
            newer,
            count=older.count + newer.count,
            failure=newer.failure or older.failure,
            newest=_joined(older.newest, newer.newest),
        )


def _joined(older: NewestRefused | None, newer: NewestRefused | None) -> NewestRefused | None:
    """Of one ticket both together; of two, the later one is of the newest launch."""
    if older is None or newer is None or older.ticket != newer.ticket:
        return newer or older
    return replace(newer, first=min(older.first, newer.first), last=max(older.last, newer.last))
