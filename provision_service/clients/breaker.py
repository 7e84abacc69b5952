"""Keeps a registry that does not answer from holding every thread of the pool."""

from __future__ import annotations

import threading
from typing import Final

FAILURES_TO_OPEN: Final = 5


class Breaker:
    """Guards the calls of one purpose. After some failures in a row nobody calls for it any more,
    until a trial of our own, with all the time it needs, was answered.

    A call whose own caller gave it too little time says nothing about the registry: it only makes
    a trial worth while. Else anybody with short deadlines could have it opened.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._doubted = False

    def lets_through(self) -> bool:
        """Whether to call at all."""
        return self._failures < FAILURES_TO_OPEN

    @property
    def wants_trial(self) -> bool:
        """Whether to find out, apart from any call."""
        return self._doubted or not self.lets_through()

    def answered(self) -> None:
        """It answered, whatever it said."""
        with self._lock:
            self._failures = 0
            self._doubted = False

    def failed(self) -> bool:
        """It did not answer. True when it had answered before: the news is worth a line."""
        with self._lock:
            self._failures += 1
            return self._failures == 1

    def doubted(self) -> None:
        """It did not answer within what the caller left."""
        self._doubted = True
