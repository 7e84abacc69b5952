"""The registry's database, seen as transactions."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Engine

from agentworkspace.core.secret import Secret
from agentworkspace.service.database import Database, Limits
from agentworkspace.service.store import Store as AnyStore
from registry_service.storage.prepared import remember_plans

LIMITS: Final = Limits()


class Store(AnyStore[Connection]):
    """Transactions of the registry need nothing but their connection."""


def open_store(
    url: Secret, *, pool_size: int = 8, pooled: bool = False, limits: Limits = LIMITS
) -> Store:
    """Connects when first used. ValueError when the URL is malformed."""
    database = Database(
        url,
        name="registry-service",
        pool_size=pool_size,
        pooled=pooled,
        limits=limits,
        # Prepared statements are parsed once, but planned anew: tables grow, and values differ.
        settings={"plan_cache_mode": "force_custom_plan"},
    )
    if not pooled:
        remember_plans(database.engine)
    return Store(database, Engine.connect)
