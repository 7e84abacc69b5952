"""Worker step: forget request ids older than a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from provision_service.storage import requests
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What is older than `keep` goes, `limit` rows at a time."""

    keep: timedelta = timedelta(hours=24)
    limit: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """`full`: there may be more to do at once."""

    forgotten: int
    full: bool


def run(store: Store, command: Sweep) -> SweepResult:
    """Forget them."""
    with store.transaction() as tx:
        forgotten = requests.sweep(tx, keep=command.keep, limit=command.limit)
    return SweepResult(forgotten=forgotten, full=forgotten >= command.limit)
