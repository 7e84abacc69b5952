"""The connection pool: one psycopg2 connection for each thread of the core."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.dialects.postgresql.psycopg2 import dialect as psycopg2_dialect
from sqlalchemy.exc import ArgumentError

from registry_service.storage.prepared import remember_plans

CONNECT_TIMEOUT_SECONDS: Final = 5
STATEMENT_TIMEOUT: Final = timedelta(seconds=15)
# A replica that was stopped in the middle of a transaction must not keep a workspace locked.
IDLE_IN_TRANSACTION_TIMEOUT: Final = timedelta(seconds=30)


def database_url(text: str) -> URL:
    """Parse, and pin the driver: `postgresql://` alone would mean another one.

    ValueError with fixed text, because SQLAlchemy's may quote the password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("the database URL is malformed") from None
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError("the database URL must begin with postgresql://")
    return url.set(drivername="postgresql+psycopg2")


def make_engine(
    url: str,
    *,
    pool_size: int = 8,
    pooled: bool = False,
    statement_timeout: timedelta = STATEMENT_TIMEOUT,
) -> Engine:
    """`pooled`: the URL leads to a pooler in transaction mode, which takes no start-up options;
    the store then sets its time limit in every transaction.
    """
    # Prepared statements are parsed once, but planned anew: tables grow, and values differ.
    arguments = _arguments(statement_timeout, pooled=pooled, plan_cache_mode="force_custom_plan")
    engine = create_engine(
        database_url(url),
        connect_args=arguments,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_use_lifo=True,
        hide_parameters=True,
    )
    if not pooled:
        remember_plans(engine)
    return engine


def driver_arguments(url: str) -> dict[str, Any]:
    """For `psycopg2.connect`: a connection past the pool, for one statement that is prepared.

    It keeps the plan that it made first, so it must never be one that reads a whole table, however
    small that was. ValueError with fixed text when the URL is malformed.
    """
    dialect: Any = psycopg2_dialect  # untyped in SQLAlchemy
    _, found = dialect().create_connect_args(database_url(url))
    # One process, so that the parts of a UNION ALL come in the order they are written in.
    kept = {"enable_seqscan": "off", "max_parallel_workers_per_gather": "0"}
    return {**found, **_arguments(STATEMENT_TIMEOUT, pooled=False, **kept)}


def _arguments(statement_timeout: timedelta, *, pooled: bool, **settings: str) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "application_name": "registry-service",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
    if not pooled:
        arguments["options"] = _options(
            {
                "statement_timeout": milliseconds(statement_timeout),
                "idle_in_transaction_session_timeout": milliseconds(IDLE_IN_TRANSACTION_TIMEOUT),
                "timezone": "UTC",
                # The statements are short; compiling one costs more than it could save.
                "jit": "off",
                **settings,
            }
        )
    return arguments


def milliseconds(span: timedelta) -> int:
    """Whole milliseconds, at least 1: PostgreSQL takes 0 for no limit at all."""
    return max(1, span // timedelta(milliseconds=1))


def _options(settings: Mapping[str, object]) -> str:
    return " ".join(f"-c {name}={value}" for name, value in settings.items())
