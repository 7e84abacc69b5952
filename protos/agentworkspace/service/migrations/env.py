"""Alembic's environment of both services; `service.migrate` passes it connection and options.

Write a new revision by hand, or with `alembic.command.revision` and the configuration that
`service.migrate.configuration` returns.
"""

from __future__ import annotations

from alembic import context

_given = context.config.attributes
context.configure(connection=_given["connection"], **_given["options"])
with context.begin_transaction():
    context.run_migrations()
