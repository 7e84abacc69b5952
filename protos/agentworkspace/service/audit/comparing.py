"""The rows that lie where a seal's rows were, held against what the seal says of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from agentworkspace.service.audit.seals import ENTRY_BYTES, ID_BYTES, Seal

# By so much two readings of the database's clock may differ without a reason.
CLOCK: Final = timedelta(seconds=1)


class Changed(Exception):
    """The audit is not what was sealed. The text names the first row, or the seal, and how."""


@dataclass(frozen=True, slots=True)
class Found:
    """A row as it is now; `xact` as it was numbered when the row was sealed."""

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
    """What was over when: the first transaction that a seal did not know yet, and its time."""

    _horizons: list[int] = field(default_factory=list)
    _times: list[datetime] = field(default_factory=list)

    def note(self, seal: Seal) -> None:
        if seal.shift:
            # Another server: neither its transactions nor its clock go on from there.
            self._horizons.clear()
            self._times.clear()
        if not self._horizons or seal.horizon > self._horizons[-1]:
            self._horizons.append(seal.horizon)
            self._times.append(seal.time)

    def check(self, row: Found, sealed: datetime | None) -> None:
        """A row is no older than what was over before its transaction began, and no younger than
        its seal. A clock that was set back shows in the seals, and explains an older time.
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
    """Raises Changed for the first of them that was edited, removed or inserted."""
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
            raise edited(comes)  # it came before its turn
    for comes in left:
        raise comes.inserted(f"behind row {seal.rows}")


def compare_left(seal: Seal, rows: Sequence[Found]) -> None:
    """As `compare`, for a seal that was pruned: its rows may be gone, and nothing may be there in
    their place.
    """
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
