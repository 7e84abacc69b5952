"""How many refused registers a workspace may have: a token bucket each, in bounded memory.

Asked only after a refusal without recognised evidence was decided. A box that holds evidence
is never counted here, so a stranger who knows its id cannot slow it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

MOST_BUCKETS: Final = 100_000


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Throttle:
    """`burst` at once, refilled by `per_second`. Times are seconds of a monotonic clock."""

    def __init__(self, *, burst: int, per_second: float, most_buckets: int = MOST_BUCKETS) -> None:
        self._burst = burst
        self._per_second = per_second
        self._most = most_buckets
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key: str, now: float) -> timedelta | None:
        """None when there was one left; else how long until there is one again."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._burst, now)
            if len(self._buckets) > self._most:
                # The one unused for longest is the one nearest to full, or full.
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
            bucket.left = min(
                self._burst, bucket.left + max(0.0, now - bucket.at) * self._per_second
            )
            bucket.at = now
        if bucket.left >= 1:
            bucket.left -= 1
            return None
        return timedelta(seconds=math.ceil((1 - bucket.left) / self._per_second))
