"""Compares the rows of the audit, as they are now, with what their seal says of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from agentworkspace.service.audit.seals import ENTRY_BYTES, ID_BYTES, Seal

# How far two readings of the database's clock may be apart without meaning anything.
CLOCK: Final = timedelta(seconds=1)


class Changed(Exception):
    """The audit is not what was sealed. The text names the first row or seal that was changed."""


@dataclass(frozen=True, slots=True)
class Found:
    """A row as it is now; `xact` is its transaction's number at the time when it was sealed."""

    event_id: str
    xact: int
    time: datetime
    action: str
    digest: bytes

    def __str__(self) -> str:
        return f"event {self.event_id}, {self.action}, {self.time}"

    def inserted(self, where: str) -> Changed:
        return Changed(f"{self} was inserted {where}")


@dataclass(slots=True)
class Clock:
    """The time of each seal, by its `horizon`: the first transaction that had not begun then.

    So a row whose transaction is at or after a horizon cannot be older than that seal.
    """

    _horizons: list[int] = field(default_factory=list)
    _times: list[datetime] = field(default_factory=list)

    def note(self, seal: Seal) -> None:
        if seal.shift:
            # The chain goes on at another server, whose transactions and clock are its own.
            self._horizons.clear()
            self._times.clear()
        if not self._horizons or seal.horizon > self._horizons[-1]:
            self._horizons.append(seal.horizon)
            self._times.append(seal.time)

    def check(self, row: Found, sealed: datetime | None) -> None:
        """Raise Changed when the row's time does not fit its transaction and its seal.

        It must not be before the last seal that its transaction is younger than, nor after its own
        seal (at `sealed`, None without one). If the clock was set back, its own seal is the earlier
        of the two, and the row may be as old as that.
        """
        place = bisect_right(self._horizons, row.xact) - 1
        if place >= 0:
            over = self._times[place]
            since = over if sealed is None else min(over, sealed)
            if row.time < since - CLOCK:
                raise row.inserted(f"after {over}: it shows a time that was over")
        if sealed is not None and row.time > sealed + CLOCK:
            raise Changed(f"{row} was edited: it was sealed at {sealed}, before its own time")


def compare(seal: Seal, rows: Sequence[Found]) -> None:
    """Raise Changed for the first row that was edited, removed or inserted.

    `rows` are those in the seal's range, in order.
    """
    first = seal.rows - seal.count + 1
    entries = dict(_entries(seal))
    numbers = {event_id: number for number, event_id in enumerate(entries, first)}
    there = {row.event_id: row for row in rows}

    def edited(row: Found) -> Changed:
        return Changed(f"row {numbers[row.event_id]} ({row}) was edited after {seal.time}")

    left = iter(rows)
    for event_id, digest in entries.items():
        comes, row = next(left, None), there.get(event_id)
        if comes is not None and comes.event_id not in numbers:
            raise comes.inserted(f"behind row {numbers[event_id] - 1}")
        if row is None:
            number = numbers[event_id]
            raise Changed(f"row {number} (event {event_id}) was removed after {seal.time}")
        if row.digest != digest:
            raise edited(row)
        if comes is not None and comes is not row:
            raise edited(comes)  # it is not in its sealed place
    for comes in left:
        raise comes.inserted(f"behind row {seal.rows}")


def compare_left(seal: Seal, rows: Sequence[Found]) -> None:
    """As `compare`, for a pruned seal: its rows may be gone, but there must not be others."""
    entries = dict(_entries(seal))
    for row in rows:
        if row.event_id not in entries:
            raise row.inserted(f"among rows that were pruned, up to row {seal.rows}")
        if row.digest != entries[row.event_id]:
            raise Changed(f"{row} was edited after {seal.time}; it is to be pruned")


def _entries(seal: Seal) -> Iterator[tuple[str, bytes]]:
    for start in range(0, len(seal.entries), ENTRY_BYTES):
        entry = seal.entries[start : start + ENTRY_BYTES]
        yield str(UUID(bytes=entry[:ID_BYTES])), entry[ID_BYTES:]
