"""Running one awaitable of the current task against a deadline, at the price of a set's entry.

`asyncio.timeout` does the same with a timer a call, which a call of two hundred microseconds
would feel. Here the calls that are due within the same 1/64 s share one.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final, Self

TICKS_A_SECOND: Final = 64
# A tick's timer stays until it rings. Streams may be due in days, and end long before.
SHARED_WITHIN_SECONDS: Final = 60.0


class Deadlines:
    """Rings for many calls with few timers. Belongs to one event loop."""

    def __init__(self) -> None:
        self._due: dict[int, set[DeadlineScope]] = {}

    def scope(self, deadline: float) -> DeadlineScope:
        """For the current task; `deadline` in seconds of `time.monotonic()`, or infinite."""
        return DeadlineScope(self, deadline)

    def join(self, scope: DeadlineScope, deadline: float) -> set[DeadlineScope]:
        """The scopes that are due with this one, which takes itself out when it ends."""
        # The next tick: late by 16 ms at most, never early.
        tick = int(deadline * TICKS_A_SECOND) + 1
        due = self._due.get(tick)
        if due is None:
            due = self._due[tick] = set()
            seconds = max(0.0, tick / TICKS_A_SECOND - time.monotonic())
            asyncio.get_running_loop().call_later(seconds, self._ring, tick)
        due.add(scope)
        return due

    def _ring(self, tick: int) -> None:
        for scope in self._due.pop(tick):
            scope.ring()


class DeadlineScope:
    """A context manager: cancels the task at the deadline; says afterwards whether it did.

    `passed` is True once that happened, whatever exception comes out of the block. A
    CancelledError that leaves the block then is the scope's own doing and is for the caller
    to turn into an answer: the task's count of cancellations is already put back.
    """

    __slots__ = ("_deadline", "_deadlines", "_due", "_task", "_timer", "passed")

    def __init__(self, deadlines: Deadlines, deadline: float) -> None:
        self.passed = False
        self._deadlines = deadlines
        self._deadline = deadline
        self._task: asyncio.Task[object] | None = None
        self._due: set[DeadlineScope] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        if self._deadline == math.inf:
            return self
        self._task = asyncio.current_task()
        seconds = self._deadline - time.monotonic()
        if seconds <= SHARED_WITHIN_SECONDS:
            self._due = self._deadlines.join(self, self._deadline)
        else:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.ring)
        return self

    def __exit__(self, *_: object) -> None:
        if self._due is not None:
            self._due.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self.passed and self._task is not None:
            self._task.uncancel()

    def ring(self) -> None:
        """The deadline has passed: stop the task, wherever in the block it waits."""
        self.passed = True
        if self._task is not None:
            self._task.cancel()
