"""The registry's database, seen as transactions."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Final

from sqlalchemy import Connection, Engine

from agentworkspace.core.secret import Secret
from agentworkspace.service.database import Database, Limits
from agentworkspace.service.store import Store as AnyStore
from registry_service.domain.liveness import HEARTBEAT_INTERVAL

LIMITS: Final = Limits()


class Transaction(Connection):
    """A transaction that carries the heartbeat interval, by which liveness is judged."""

    def __init__(self, engine: Engine, *, heartbeat_interval: timedelta) -> None:
        super().__init__(engine)
        self.heartbeat_interval = heartbeat_interval


class Store(AnyStore[Transaction]):
    """Opens transactions on the registry's database."""


def open_store(
    url: Secret,
    *,
    heartbeat_interval: timedelta = HEARTBEAT_INTERVAL,
    pool_size: int = 8,
    pooled: bool = False,
    limits: Limits = LIMITS,
) -> Store:
    """The store at this URL; it connects when first used. ValueError when the URL is malformed."""
    database = Database(
        url,
        name="registry-service",
        pool_size=pool_size,
        pooled=pooled,
        limits=limits,
    )
    return Store(database, partial(Transaction, heartbeat_interval=heartbeat_interval))
