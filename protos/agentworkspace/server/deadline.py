"""Deadlines for very many calls: a cheaper `asyncio.timeout`.

`asyncio.timeout` sets a timer for every call, which costs a noticeable part of a call that takes
200 µs. Here all calls that are due within the same 1/64 s share one timer.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final, Self

TICKS_A_SECOND: Final = 64
# A shared timer stays until it fires. Streams may be due in days and end long before, so a deadline
# further away than this has a timer of its own, which can be cancelled.
SHARED_WITHIN_SECONDS: Final = 60.0


class Deadlines:
    """The timers of one event loop, each of which cancels all calls that are due at its tick."""

    def __init__(self) -> None:
        self._due: dict[int, set[DeadlineScope]] = {}

    def scope(self, deadline: float) -> DeadlineScope:
        """A context manager for the current task; `deadline` in seconds of `time.monotonic()`."""
        return DeadlineScope(self, deadline)

    def join(self, scope: DeadlineScope, deadline: float) -> set[DeadlineScope]:
        """The scopes due at the same tick, now with this one, which takes itself out at its end."""
        # The next tick, so that it fires at most 16 ms late and never early.
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
    """A context manager that cancels its task at the deadline.

    `passed` is True once that happened, whatever exception leaves the block. A CancelledError that
    leaves it then was caused by the scope, which has called `Task.uncancel()` already; the caller
    turns it into an answer.
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
        """Cancel the task, because the deadline has passed."""
        self.passed = True
        if self._task is not None:
            self._task.cancel()
