"""Bring a database to the schema of this version, or say how it differs.

A migration is production traffic: it takes its turn, and gives up early rather than let
everything behind it wait. It also runs under the release before, which serves on while this one
starts: a release only adds what that one can do without, and removes what the release before
stopped using.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text

from agentworkspace.core.secret import Secret
from agentworkspace.service.database import open_once

_ENVIRONMENT: Final = Path(__file__).with_name("migrations")
# Waiting for another replica's migration may take as long as that one.
_TURN: Final = "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = '10min'"
_LIMITS: Final = "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '60s'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A service's own part of a database. `turn` is the number of its advisory lock: any will do
    that only its migrations take.
    """

    name: str
    tables: MetaData
    versions: Path
    turn: int


def upgrade(schema: Schema, url: Secret) -> None:
    """Apply what is missing, in one transaction. Replicas that start together take turns; the
    second finds nothing left to do.
    """
    with _connected(schema, url) as connection:
        connection.exec_driver_sql(_TURN)
        # Of the transaction, not the session: a pooler in transaction mode would leak it.
        connection.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": schema.turn})
        connection.exec_driver_sql(_LIMITS)
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema.name}")
        command.upgrade(configuration(schema, connection), "head")
        connection.commit()


def check(schema: Schema, url: Secret) -> list[str]:
    """How the database differs from this version; empty when it does not."""
    with _connected(schema, url) as connection:
        context = MigrationContext.configure(connection, opts=_options(schema))
        scripts = ScriptDirectory.from_config(configuration(schema, connection))
        current, head = context.get_current_revision(), scripts.get_current_head()
        if current != head:
            return [f"the database is at revision {current}, this version needs {head}"]
        return [repr(difference) for difference in compare_metadata(context, schema.tables)]


def configuration(schema: Schema, connection: Connection) -> Config:
    """What Alembic's own commands need to work on this schema through this connection."""
    config = Config()
    config.set_main_option("script_location", str(_ENVIRONMENT))
    config.set_main_option("version_locations", str(schema.versions))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["options"] = _options(schema)
    return config


@contextmanager
def _connected(schema: Schema, url: Secret) -> Iterator[Connection]:
    with open_once(url, name=f"{schema.name}-service migrate") as engine, engine.connect() as made:
        yield made


def _options(schema: Schema) -> dict[str, Any]:
    """How Alembic sees this schema and no other: another service may share the database."""

    def is_ours(name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
        return name == schema.name if kind == "schema" else parents["schema_name"] == schema.name

    return {
        "target_metadata": schema.tables,
        "version_table_schema": schema.name,
        "include_schemas": True,
        "include_name": is_ours,
        "compare_type": True,
        "compare_server_default": True,
    }
