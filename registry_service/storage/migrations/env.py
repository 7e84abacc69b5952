"""How a migration meets a database that is serving: it takes its turn, and gives up early."""

from __future__ import annotations

from typing import Final

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine, text

from registry_service.storage.models import SCHEMA, Row

# Any number will do, as long as only this service's migrations take it.
ADVISORY_LOCK: Final = 7_101_000_001
LOCK_TIMEOUT: Final = "5s"
STATEMENT_TIMEOUT: Final = "60s"


def run() -> None:
    engine = create_engine(
        context.config.attributes["url"],
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"connect_timeout": 5},
    )
    with engine.connect() as connection, connection.begin():
        # Waiting for another replica's migration may take as long as that one.
        _set(connection, lock_timeout="0", statement_timeout="10min")
        # Of the transaction, not the session: a pooler in transaction mode would leak it.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        # A migration that waits for a lock makes everything behind it wait.
        _set(connection, lock_timeout=LOCK_TIMEOUT, statement_timeout=STATEMENT_TIMEOUT)
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        context.configure(
            connection=connection,
            target_metadata=Row.metadata,
            version_table_schema=SCHEMA,
            include_schemas=True,
            include_name=_ours,
            compare_server_default=True,
        )
        context.run_migrations()
    engine.dispose()


def _set(connection: Connection, **settings: str) -> None:
    for name, value in settings.items():
        connection.execute(text(f"SET LOCAL {name} = '{value}'"))


def _ours(name: str | None, kind: str, _parents: object) -> bool:
    """Another service may live in the same database; its schema is none of our business."""
    return kind != "schema" or name == SCHEMA


run()
