"""Small facts that are kept in memory for a moment, until a background task writes them.

They may be lost with the process: whether a box is let in depends on none of them. Use these
classes on the event loop only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Final, Generic, TypeAlias, TypeVar

from agentworkspace.core.ids import TokenId, WorkspaceId
from agentworkspace.core.refusal import SharedReason
from registry_service.commands.register import RegisterRefused
from registry_service.commands.views import RegisterFailure
from registry_service.storage.registrations import Heard
from registry_service.workers.flush_rejected_registers import NewestRefused, RefusedRegisters

MOST_WORKSPACES: Final = 100_000

Key = TypeVar("Key")
Value = TypeVar("Value", datetime, Heard)


class Newest(Generic[Key, Value]):
    """The newest value of each key since the last flush. A value is newer if it is greater."""

    def __init__(self) -> None:
        self._values: dict[Key, Value] = {}

    def note(self, key: Key, value: Value) -> None:
        known = self._values.get(key)
        if known is None or known < value:
            self._values[key] = value

    def take(self, most: int) -> dict[Key, Value]:
        """Take out at most so many, those that came first."""
        if len(self._values) <= most:
            values, self._values = self._values, {}
            return values
        return {key: self._values.pop(key) for key in list(islice(self._values, most))}

    def put_back(self, values: Mapping[Key, Value], keys: Iterable[Key]) -> None:
        """Keep for the next time the `values` of these `keys`, which could not be written."""
        for key in keys:
            self.note(key, values[key])


# When each token was last used, and when each box last reported that had nothing new to say.
LastUses: TypeAlias = Newest[TokenId, datetime]
LastHeard: TypeAlias = Newest[WorkspaceId, Heard]


class RefusedLedger:
    """Refused registers by workspace since the last flush."""

    def __init__(self) -> None:
        self._counted: dict[WorkspaceId, RefusedRegisters] = {}

    def note(self, refused: RegisterRefused) -> None:
        """Count one. Unknown workspaces are not counted: they have no row to write to, and
        somebody could make up any number of them.
        """
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
        """Take out everything, one entry a workspace."""
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
            if len(self._counted) < MOST_WORKSPACES:
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
    """One span of both if they are of the same ticket; else the newer one, whose ticket is the
    newer, too.
    """
    if older is None or newer is None or older.ticket != newer.ticket:
        return newer or older
    return replace(newer, first=min(older.first, newer.first), last=max(older.last, newer.last))
