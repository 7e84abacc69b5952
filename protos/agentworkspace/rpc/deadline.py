"""Running one awaitable of the current task against a deadline, at the price of one timer.

`asyncio.timeout` does the same and costs four times as much, which a call of a few hundred
microseconds would feel.
"""

from __future__ import annotations

import asyncio
import math
from typing import Self


class DeadlineScope:
    """A context manager: cancels the task at the deadline; says afterwards whether it did.

    `passed` is True once that happened, whatever exception comes out of the block. A
    CancelledError that leaves the block then is the scope's own doing and is for the caller
    to turn into an answer: the task's count of cancellations is already put back.
    """

    __slots__ = ("_handle", "_seconds", "_task", "passed")

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._seconds = seconds
        self._task: asyncio.Task[object] | None = None
        self._handle: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        if self._seconds != math.inf:
            loop = asyncio.get_running_loop()
            self._task = asyncio.current_task(loop)
            self._handle = loop.call_later(self._seconds, self._ring)
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self.passed and self._task is not None:
            self._task.uncancel()

    def _ring(self) -> None:
        self.passed = True
        if self._task is not None:
            self._task.cancel()
