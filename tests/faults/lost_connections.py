"""Connections that end in the middle of a command, as a failing database would end them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, event

from tests.storage.registry_world import World


@contextmanager
def connection_lost_at(world: World, surgeon: World, step: int) -> Iterator[list[str]]:
    """End the backend just before its statement number `step`; 0: before a commit."""
    engine = world.store.database.engine
    statements: list[str] = []

    def cut(connection: Connection) -> None:
        pid = connection.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
        surgeon.sql("SELECT pg_terminate_backend(%(pid)s, 5000)", pid=pid)

    def before(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)
        if len(statements) == step:
            cut(connection)

    def commit(connection: Connection) -> None:
        if step == 0:
            statements.append("COMMIT")
            cut(connection)

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "commit", commit)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", before)
        event.remove(engine, "commit", commit)
