"""Alembic's environment: the connection comes from `storage.migrate`, which holds the lock.

By hand: `alembic -x url=postgresql://… revision --autogenerate` against a scratch database.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine

from provision_service.storage.engine import driver_url
from provision_service.storage.migrate import context_options


def _run(connection: Connection) -> None:
    context.configure(connection=connection, **context_options())
    with context.begin_transaction():
        context.run_migrations()


_given = context.config.attributes.get("connection")
if _given is not None:
    _run(_given)
else:
    _url = driver_url(context.get_x_argument(as_dictionary=True)["url"])
    with create_engine(_url, poolclass=NullPool, hide_parameters=True).begin() as _connection:
        _run(_connection)
