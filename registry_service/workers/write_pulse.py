"""Writes the pulse: the proof that some registry is up, and since when without a gap."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from registry_service.storage import pulse
from registry_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseWritten:
    time: datetime
    up_since: datetime
    # True when there was no pulse before, or too long ago: boxes then get time to come back.
    after_gap: bool


def run(store: Store) -> PulseWritten:
    """Call every 2 s, and once before serving."""
    with store.transaction() as tx:
        written = pulse.write(tx)
    return PulseWritten(
        time=written.now,
        up_since=written.up_since,
        after_gap=written.up_since == written.now,
    )
