"""`serve --embedded`: this service's own database in an embedded PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy

from agentworkspace.service import embedded_postgres

DATABASE = "registry"


@contextmanager
def running(home: Path) -> Iterator[str]:
    """Keep the server of `home` up and yield the URL of the registry's database, made when absent.

    The provision may share the server, never the database. Raises EmbeddedPostgresError.
    """
    with embedded_postgres.running(home / "postgres") as sockets:
        _create_database(embedded_postgres.database_url(sockets, "postgres"))
        yield embedded_postgres.database_url(sockets, DATABASE)


def _create_database(maintenance_url: str) -> None:
    engine = sqlalchemy.create_engine(maintenance_url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            exists = sqlalchemy.text("SELECT 1 FROM pg_database WHERE datname = :name")
            if connection.scalar(exists, {"name": DATABASE}) is None:
                connection.execute(sqlalchemy.text(f"CREATE DATABASE {DATABASE}"))
    finally:
        engine.dispose()
