"""How much work the edge lets in at once, with room kept for the control plane."""

from __future__ import annotations

import asyncio

from agentworkspace.rpc.policy import Lane


class Capacity:
    """Counts running calls. Not locked, because only the event loop touches it.

    Boxes and verifiers may hold `max_in_flight - control_reserve` calls; launchers and operators
    (lane CONTROL) are let in up to `max_in_flight`. Streams are counted apart.
    """

    def __init__(self, *, max_in_flight: int, control_reserve: int, max_streams: int) -> None:
        if not 0 <= control_reserve < max_in_flight:
            raise ValueError("control_reserve must be smaller than max_in_flight")
        if max_streams < 1:
            raise ValueError("max_streams must be positive")
        self._limit = dict.fromkeys(Lane, max_in_flight - control_reserve)
        self._limit[Lane.CONTROL] = max_in_flight
        self._max_streams = max_streams
        self._empty: asyncio.Event | None = None
        self.in_flight = 0
        self.streams = 0

    def try_enter(self, lane: Lane) -> bool:
        if self.in_flight >= self._limit[lane]:
            return False
        self.in_flight += 1
        return True

    def leave(self) -> None:
        self.in_flight -= 1
        if self._empty is not None:
            self._tell_when_empty()

    def try_enter_stream(self) -> bool:
        if self.streams >= self._max_streams:
            return False
        self.streams += 1
        return True

    def leave_stream(self) -> None:
        self.streams -= 1
        self._tell_when_empty()

    @property
    def is_empty(self) -> bool:
        return self.in_flight == 0 and self.streams == 0

    async def drained(self, patience_seconds: float) -> bool:
        """Wait until nothing runs any more; False when that took longer than `patience_seconds`."""
        self._empty = asyncio.Event()
        self._tell_when_empty()
        try:
            await asyncio.wait_for(self._empty.wait(), patience_seconds)
        except TimeoutError:
            return False
        return True

    def _tell_when_empty(self) -> None:
        if self._empty is not None and self.is_empty:
            self._empty.set()
