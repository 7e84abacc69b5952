"""Keeps a registry that does not answer from holding every thread of the pool."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

FAILURES_TO_OPEN: Final = 5
OPEN_SECONDS: Final = 1.0


class Breaker:
    """After some failures in a row, lets one call a second through to find out; no more."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures = 0
        self._next_try = 0.0

    def lets_through(self) -> bool:
        """Whether to call at all."""
        with self._lock:
            if self._failures < FAILURES_TO_OPEN:
                return True
            now = self._monotonic()
            if now < self._next_try:
                return False
            self._next_try = now + OPEN_SECONDS
            return True

    def answered(self) -> None:
        """It answered, whatever it said."""
        with self._lock:
            self._failures = 0

    def failed(self) -> bool:
        """It did not answer. True when it had answered before: the news is worth a line."""
        with self._lock:
            self._failures += 1
            if self._failures == FAILURES_TO_OPEN:
                self._next_try = self._monotonic() + OPEN_SECONDS
            return self._failures == 1
