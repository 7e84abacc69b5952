"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Final

LONGEST_SECONDS: Final = 60.0
_FIRST_SECONDS: Final = 0.5
# A server's hint is a beginning, not an appointment: up to this share is added by chance.
_SPREAD: Final = 0.25


class Backoff:
    """Doubles from half a second up to `longest`, with jitter, so that a herd spreads out.

    `chance` answers numbers in [0, 1). Seconds throughout.
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
        """The next wait; not shorter than a server's hint, and never longer than `longest`."""
        grown = min(self._longest, self._first * 2.0 ** min(self._times, 32))
        self._times += 1
        wait = grown * (0.5 + 0.5 * self._chance())
        if hint is not None:
            asked = hint.total_seconds() * (1.0 + _SPREAD * self._chance())
            # A hint beyond the ceiling means the ceiling, with jitter still.
            spread_ceiling = self._longest * (1.0 - _SPREAD * self._chance())
            wait = max(wait, min(asked, spread_ceiling))
        return wait

    @property
    def began(self) -> bool:
        """Whether the last try failed, so that there is a wait to keep."""
        return self._times > 0

    def reset(self) -> None:
        self._times = 0
