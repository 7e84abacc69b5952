"""How many refusals somebody may have: a token bucket each, in bounded memory.

Asked only after a refusal without recognised evidence was decided. A caller that holds evidence
is never counted here, so strangers can use up nobody's allowance but their own.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import unquote

MOST_BUCKETS: Final = 100_000


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Throttle:
    """`burst` at once, refilled by `per_second`. Times are seconds of a monotonic clock.

    A bucket that nobody touched until it must be full again is forgotten.
    """

    def __init__(self, *, burst: int, per_second: float, most_buckets: int = MOST_BUCKETS) -> None:
        self._burst = burst
        self._per_second = per_second
        self._most = most_buckets
        # The one unused for longest comes first.
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now: float) -> timedelta | None:
        """Take one. None when there was one left; else how long until there is one again."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._burst, now)
        else:
            self._buckets.move_to_end(key)
            bucket.left = min(
                self._burst, bucket.left + max(0.0, now - bucket.at) * self._per_second
            )
            bucket.at = now
        self._forget(now)
        if bucket.left >= 1:
            bucket.left -= 1
            return None
        return timedelta(seconds=math.ceil((1 - bucket.left) / self._per_second))

    def _forget(self, now: float) -> None:
        """Two at a time: faster than one more a call can come in."""
        full_before = now - self._burst / self._per_second
        for _ in range(2):
            oldest = next(iter(self._buckets))
            if len(self._buckets) <= self._most and self._buckets[oldest].at > full_before:
                return
            if len(self._buckets) > 1:
                del self._buckets[oldest]


class Strangers:
    """How many calls with an unknown credential an address may make, and all addresses together.

    `peer` is the address as gRPC writes it. Somebody who has a whole /64 of IPv6 is one.
    """

    def __init__(
        self,
        *,
        burst: int,
        per_second: float,
        total_burst: int,
        total_per_second: float,
    ) -> None:
        self._each = Throttle(burst=burst, per_second=per_second, most_buckets=10_000)
        self._all = Throttle(burst=total_burst, per_second=total_per_second)

    def take(self, peer: str, now: float) -> timedelta | None:
        """Count the call. None when it may be told why it was refused; else when to come back."""
        return self._each.take(address_of(peer), now) or self._all.take("", now)


def address_of(peer: str) -> str:
    """`ipv4:192.0.2.1:4711` and `ipv6:%5B::ffff:192.0.2.1%5D:4711` as `192.0.2.1`; of any other
    address of IPv6 the first half.
    """
    host = unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return peer  # a socket of this machine
    if isinstance(address, IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))
