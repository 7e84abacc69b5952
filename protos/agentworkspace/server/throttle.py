"""Limits how often strangers are refused: a token bucket for each key, in bounded memory.

Only calls that are already refused, and presented nothing that was issued here, are counted. So a
stranger cannot use up the allowance of anybody who holds a valid credential.
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
    """Token buckets by key: `burst` at once, refilled by `per_second`.

    Times are seconds of a monotonic clock. A bucket is forgotten when it must be full again, or
    when there are more than `most_buckets` and it is the one unused for longest.
    """

    def __init__(self, *, burst: int, per_second: float, most_buckets: int = MOST_BUCKETS) -> None:
        self._burst = burst
        self._per_second = per_second
        self._most = most_buckets
        # Ordered by last use, the oldest first.
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now: float) -> timedelta | None:
        """Take one token. None when there was one; else how long until there is one again."""
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
        """Forget up to two buckets; two, because each call adds at most one."""
        full_before = now - self._burst / self._per_second
        for _ in range(2):
            oldest = next(iter(self._buckets))
            if len(self._buckets) <= self._most and self._buckets[oldest].at > full_before:
                return
            if len(self._buckets) > 1:
                del self._buckets[oldest]


class Strangers:
    """How many calls with an unknown credential an address may make, and all addresses together.

    `peer` is the address as gRPC writes it. A whole /64 of IPv6 counts as one address.
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
        """Count the refused call. None when it is within the limits; else how long to stay away."""
        return self._each.take(address_of(peer), now) or self._all.take("", now)


def address_of(peer: str) -> str:
    """The address of a peer as gRPC writes it; of an IPv6 address only the first 64 bits.

    `ipv4:192.0.2.1:4711` and `ipv6:%5B::ffff:192.0.2.1%5D:4711` both give `192.0.2.1`. A peer
    without an address, such as a unix socket, is returned as it is.
    """
    host = unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return peer  # a socket of this machine
    if isinstance(address, IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))
