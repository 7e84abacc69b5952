"""Bring a database to the schema of this version, or say how it differs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, create_engine, text

from provision_service.storage import models_internal
from provision_service.storage.engine import driver_url
from provision_service.storage.models import SCHEMA

_MIGRATIONS: Final = Path(__file__).with_name("migrations")
# Any number will do, as long as the other service has another one.
_LOCK: Final = 0x70726F76
_LIMITS: Final = "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '60s'"

METADATA: Final = models_internal.AuditEventRow.metadata


def upgrade(url: str) -> None:
    """Apply what is missing, in one transaction; a second one at the same time waits.

    The advisory lock is of the transaction, so that a pooler in transaction mode does.
    """
    engine = _engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            connection.exec_driver_sql(_LIMITS)
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def check(url: str) -> list[str]:
    """How the database differs from this version; empty when it does not."""
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            return _differences(connection)
    finally:
        engine.dispose()


def _differences(connection: Connection) -> list[str]:
    context = MigrationContext.configure(connection, opts=context_options())
    head = ScriptDirectory.from_config(_config()).get_current_head()
    current = context.get_current_revision()
    if current != head:
        return [f"the database is at revision {current}, this version needs {head}"]
    return [repr(difference) for difference in compare_metadata(context, METADATA)]


def context_options() -> dict[str, Any]:
    """How Alembic sees this schema and no other."""
    return {
        "target_metadata": METADATA,
        "version_table": "alembic_version",
        "version_table_schema": SCHEMA,
        "include_schemas": True,
        "include_name": _is_ours,
        "compare_type": True,
        "compare_server_default": True,
    }


def _is_ours(name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
    return name == SCHEMA if kind == "schema" else parents.get("schema_name") == SCHEMA


def _engine(url: str) -> Engine:
    return create_engine(driver_url(url), poolclass=NullPool, hide_parameters=True)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config
