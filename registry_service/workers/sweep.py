"""Deletes what is no longer needed: old request ids and the oldest entries of the feed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from registry_service.storage import feed, requests
from registry_service.storage.store import Store

KEEP_REQUESTS: Final = timedelta(hours=24)
KEEP_FEED: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    keep_requests: timedelta = KEEP_REQUESTS
    keep_feed: timedelta = KEEP_FEED
    # At most so many rows of each table are deleted.
    limit: int = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    requests: int
    revocations: int


def run(store: Store, command: Sweep) -> Swept:
    """Returns how many rows were deleted; if one count is `limit`, call again."""
    with store.transaction() as tx:
        swept_requests = requests.sweep(tx, keep=command.keep_requests, limit=command.limit)
        swept_feed = feed.sweep(tx, keep=command.keep_feed, limit=command.limit)
    return Swept(requests=swept_requests, revocations=swept_feed)
