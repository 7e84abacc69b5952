"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Final

LONGEST_SECONDS: Final = 60.0
_FIRST_SECONDS: Final = 0.5
# Up to this share is added at random to a server's hint, so that clients do not all come at once.
_SPREAD: Final = 0.25


class Backoff:
    """Waits that double from `first` up to `longest` seconds, with jitter.

    `chance` returns random numbers in [0, 1).
    """

    def __init__(
        self,
        *,
        first: float = _FIRST_SECONDS,
        longest: float = LONGEST_SECONDS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._first = first
        self._longest = longest
        self._chance = chance
        self._times = 0

    def seconds(self, hint: timedelta | None = None) -> float:
        """The next wait in seconds: at least a server's hint, and never more than `longest`."""
        grown = min(self._longest, self._first * 2.0 ** min(self._times, 32))
        self._times += 1
        wait = grown * (0.5 + 0.5 * self._chance())
        if hint is not None:
            asked = hint.total_seconds() * (1.0 + _SPREAD * self._chance())
            # A hint beyond the ceiling counts as the ceiling, still with jitter.
            spread_ceiling = self._longest * (1.0 - _SPREAD * self._chance())
            wait = max(wait, min(asked, spread_ceiling))
        return wait

    @property
    def began(self) -> bool:
        """Whether a wait was asked for since the last `reset`: the last attempt failed."""
        return self._times > 0

    def reset(self) -> None:
        """Begin again with the first wait, after a success."""
        self._times = 0
