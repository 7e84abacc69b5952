"""Alembic's environment of both services; `service.migrate` hands over connection and options.

A new revision is made by hand, or with `alembic.command.revision` on the configuration that
`service.migrate.configuration` gives.
"""

from __future__ import annotations

from alembic import context

_given = context.config.attributes
context.configure(connection=_given["connection"], **_given["options"])
with context.begin_transaction():
    context.run_migrations()
