"""How often, and after what wait, our channels repeat a call that may be repeated."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import grpc

from agentworkspace.core.backoff import Backoff
from agentworkspace.rpc.errors import RpcFailure

MOST_ATTEMPTS: Final = 4
_FIRST_SECONDS: Final = 0.2
_LONGEST_SECONDS: Final = 2.0


class Repeats:
    """The attempts at one call. `timeout` is that of all of them, in seconds; None: no deadline."""

    def __init__(
        self, timeout: float | None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._deadline = None if timeout is None else monotonic() + timeout
        self._backoff = Backoff(first=_FIRST_SECONDS, longest=_LONGEST_SECONDS)
        self._attempts = 1

    def wait_after(self, failure: RpcFailure) -> float | None:
        """Seconds to wait before the next attempt; None when the failure is to be returned."""
        if self._attempts >= MOST_ATTEMPTS or not _says_try_again(failure):
            return None
        self._attempts += 1
        seconds = self._backoff.seconds(failure.retry_after)
        left = self.left()
        # A wait beyond the deadline would replace this failure, which says why, by a bare deadline.
        return seconds if left is None or seconds < left else None

    def left(self) -> float | None:
        """Seconds that are left until the deadline; None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - self._monotonic())


def _says_try_again(failure: RpcFailure) -> bool:
    if failure.code is grpc.StatusCode.UNAVAILABLE:
        return True
    # CANCELLED without a reason is gRPC's own: the server shed the call before a handler saw it.
    return failure.code is grpc.StatusCode.CANCELLED and not failure.reason
