"""Brings a database to the schema of this version, or says how it differs.

A migration is production traffic: it takes its turn, and gives up early rather than let everything
behind it wait. The previous release goes on serving while this one starts, on the new schema. So a
release adds only what the previous one can do without, and removes only what the previous one no
longer uses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, MetaData, text
from sqlalchemy.exc import OperationalError

from agentworkspace.core.secret import Secret
from agentworkspace.service.database import open_once
from agentworkspace.service.lock_waits import Holder, watched
from agentworkspace.service.store_faults import described

_PID: Final = "SELECT pg_backend_pid()"
_ENVIRONMENT: Final = Path(__file__).with_name("migrations")
# The limits while it waits for its turn, which may take as long as another replica's migration.
_TURN: Final = "SET LOCAL lock_timeout = '10min'; SET LOCAL statement_timeout = 0"
# The limits of the migration. Whoever needs a table for which it waits has to wait behind it, which
# must be short.
_LIMITS: Final = "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '60s'"
_PAUSE_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.5
PATIENCE: Final = timedelta(minutes=2)
# lock_not_available, deadlock_detected: serving processes lock the same tables in another order.
_IN_THE_WAY: Final = frozenset({"55P03", "40P01"})


class LocksHeld(CommandError):
    """A lock that the migration needs was held for longer than it waits; nothing has changed."""


class NotApplied(CommandError):
    """The database did not reach the revision that was waited for in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A service's own schema of a database.

    `versions` is the directory of its migrations. `turn` is the key of the advisory lock by which
    they take turns: any number that nothing else uses.
    """

    name: str
    tables: MetaData
    versions: Path
    turn: int


def upgrade(
    schema: Schema,
    url: Secret,
    *,
    say: Callable[[str], None] = lambda _: None,
    patience: timedelta = PATIENCE,
) -> None:
    """Apply the missing migrations, in one transaction.

    Replicas that start together take turns, and all but the first find nothing to do. `say` is
    called, on some thread, with what it waits for. It tries again and again, letting those who wait
    behind it through in between, and raises LocksHeld after `patience`.
    """
    give_up = time.monotonic() + patience.total_seconds()
    with _engine(schema, url) as engine, engine.connect() as connection:
        while (held := _apply(schema, engine, connection, say)) is not None:
            if time.monotonic() >= give_up:
                raise LocksHeld(_gave_up(held, patience))
            say("lets those through who wait behind it, and tries again")
            time.sleep(_PAUSE_SECONDS)


def _apply(
    schema: Schema, engine: Engine, connection: Connection, say: Callable[[str], None]
) -> Sequence[Holder] | None:
    """Try once. None when it is done, else the holders of a lock that it did not get."""
    connection.exec_driver_sql(_TURN)
    with watched(engine, connection.exec_driver_sql(_PID).scalar_one(), say) as watch:
        try:
            # A transaction's lock, because a pooler in transaction mode would leak a session's.
            connection.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": schema.turn})
            connection.exec_driver_sql(_LIMITS)
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema.name}")
            command.upgrade(configuration(schema, connection), "head")
            connection.commit()
        except OperationalError as error:
            connection.rollback()
            if getattr(error.orig, "pgcode", None) not in _IN_THE_WAY:
                raise
            return watch.holders
    return None


def _gave_up(held: Sequence[Holder], patience: timedelta) -> str:
    waited = f"gave up after {patience.total_seconds():.0f} s; nothing has changed."
    if not held:
        return f"{waited} Somebody holds a lock that the migration needs: run it again later"
    waits = "; ".join(map(str, held))
    ended = f"SELECT pg_terminate_backend({held[0].pid})"
    return f"{waited} It waited for {waits}. Run it again when that is over, or end it: {ended}"


def check(schema: Schema, url: Secret) -> list[str]:
    """The differences between the database and this version's models; empty: there are none."""
    with _engine(schema, url) as engine, engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=_options(schema))
        current, head = context.get_current_revision(), migrations(schema).get_current_head()
        if current != head:
            return [f"the database is at revision {current}, this version needs {head}"]
        return [repr(difference) for difference in compare_metadata(context, schema.tables)]


def wait_until_applied(
    schema: Schema,
    url: Secret,
    *,
    patience: timedelta,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Wait until another process has applied the migrations that this version needs.

    It also waits while the database does not answer. A revision that this version does not know
    belongs to a later version, on whose schema this one can work. `say` is called once with each
    thing that it waits for. Raises NotApplied after `patience`.
    """
    give_up = time.monotonic() + patience.total_seconds()
    told = ""
    while (waits_for := _still_missing(schema, url)) != "":
        if waits_for != told:
            say(f"waits: {waits_for}")
            told = waits_for
        if time.monotonic() >= give_up:
            waited = f"gave up after {patience.total_seconds():.0f} s"
            raise NotApplied(f"{waited}: {waits_for}; run `{schema.name}-service migrate`")
        time.sleep(_LOOK_SECONDS)


def _still_missing(schema: Schema, url: Secret) -> str:
    """A sentence on what is missing for this version; empty when it can work."""
    try:
        with _engine(schema, url) as engine, engine.connect() as connection:
            current = applied(schema, connection)
    except OperationalError as error:
        return f"the database does not answer ({described(error)})"
    scripts = migrations(schema)
    head = scripts.get_current_head()
    known = {each.revision for each in scripts.walk_revisions()}
    if current == head or (current is not None and current not in known):
        return ""
    found = "has no revision yet" if current is None else f"is at revision {current}"
    return f"the database {found}, this version needs {head}"


def migrations(schema: Schema) -> ScriptDirectory:
    """The migrations that this version has."""
    return ScriptDirectory.from_config(_located(schema))


def applied(schema: Schema, connection: Connection) -> str | None:
    """The revision that the database is at; None when it was never migrated."""
    context = MigrationContext.configure(connection, opts=_options(schema))
    return context.get_current_revision()


def configuration(schema: Schema, connection: Connection) -> Config:
    """What Alembic's own commands need to work on this schema through this connection."""
    config = _located(schema)
    config.attributes["connection"] = connection
    config.attributes["options"] = _options(schema)
    return config


def _located(schema: Schema) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_ENVIRONMENT))
    config.set_main_option("version_locations", str(schema.versions))
    config.set_main_option("path_separator", "os")
    return config


def _engine(schema: Schema, url: Secret) -> AbstractContextManager[Engine]:
    return open_once(url, name=f"{schema.name}-service migrate")


def _options(schema: Schema) -> dict[str, Any]:
    """Options that make Alembic see this schema only, as services may share a database."""

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
