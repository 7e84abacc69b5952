"""How much the registry has not heard, for the metrics."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from provision_service.storage.models_internal import OutboxRow
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True)
class OutboxDepth:
    """Messages that wait, and for how many seconds the oldest has."""

    messages: int
    oldest_seconds: float


def measure(store: Store) -> OutboxDepth:
    """Count them by the database's clock."""
    age = func.extract("epoch", func.clock_timestamp() - func.min(OutboxRow.create_time))
    with store.reading() as tx:
        messages, oldest = tx.execute(select(func.count(), age).select_from(OutboxRow)).one()
    return OutboxDepth(messages, max(0.0, float(oldest or 0)))
