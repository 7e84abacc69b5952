"""The engine: a pool of psycopg2 connections, one for each thread of the core."""

from __future__ import annotations

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError

CONNECT_TIMEOUT_SECONDS = 5
_PSYCOPG2 = "postgresql+psycopg2"


class BadDatabaseUrl(ValueError):
    """The database URL cannot be read; its text may hold a password and is not repeated."""


def build_engine(url: str, *, pool_size: int) -> Engine:
    """An engine that opens connections on demand, at most `pool_size`.

    Nothing is sent at connection time that a pooler in transaction mode would not take:
    time limits are set inside each transaction.
    """
    return create_engine(
        driver_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "application_name": "provision-service",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        },
    )


def driver_url(url: str) -> str:
    """`url` with the driver this service uses; BadDatabaseUrl when it is none of PostgreSQL's."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise BadDatabaseUrl("the database URL cannot be read") from None
    if parsed.get_backend_name() not in {"postgresql", "postgres"}:
        raise BadDatabaseUrl("the database URL does not lead to PostgreSQL")
    return parsed.set(drivername=_PSYCOPG2).render_as_string(hide_password=False)
