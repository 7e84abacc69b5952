"""A circuit breaker: it keeps a silent registry from holding every thread of the pool."""

from __future__ import annotations

import threading
from typing import Final

FAILURES_TO_OPEN: Final = 5


class Breaker:
    """Guards the calls of one purpose. After FAILURES_TO_OPEN failures in a row it is open and lets
    no call through, until a trial (`RegistryClient.trial`), which has its own deadline, was
    answered.

    A call that failed because its caller left it too little time says nothing about the registry:
    it only asks for a trial. Otherwise anybody with short deadlines could open the breaker.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._doubted = False

    def lets_through(self) -> bool:
        """Whether the breaker is closed, so that calls may be made."""
        return self._failures < FAILURES_TO_OPEN

    @property
    def wants_trial(self) -> bool:
        """Whether a trial is wanted, to find out if the registry answers."""
        return self._doubted or not self.lets_through()

    def answered(self) -> None:
        """The registry answered, whatever it said."""
        with self._lock:
            self._failures = 0
            self._doubted = False

    def failed(self) -> bool:
        """The registry did not answer. True for the first failure in a row, which is worth a log
        line.
        """
        with self._lock:
            self._failures += 1
            return self._failures == 1

    def doubted(self) -> None:
        """The registry did not answer within the time that the caller had left."""
        self._doubted = True
