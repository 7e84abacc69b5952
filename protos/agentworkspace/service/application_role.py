"""A role for the serving processes, which may not change what the audit says."""

from __future__ import annotations

import re
from typing import Final

from alembic.util import CommandError
from sqlalchemy import Connection

from agentworkspace.core.secret import Secret
from agentworkspace.service.audit.tables import EVENTS, SEALS, WRITTEN
from agentworkspace.service.database import open_once

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_KNOWN: Final = "SELECT rolsuper FROM pg_roles WHERE rolname = %(role)s"
# Whoever is a member of the owner may grant itself anything.
_OWNS: Final = """
SELECT EXISTS (SELECT FROM pg_tables
               WHERE schemaname = %(schema)s AND pg_has_role(%(role)s, tableowner, 'MEMBER'))
"""


class RoleRefused(CommandError):
    """No such role can be made, or it could do anything; nothing was granted to it."""


def made(url: Secret, schema: str, role: str) -> str:
    """As `grant`, in a transaction of its own."""
    with open_once(url, name=f"{schema}-service migrate") as engine, engine.begin() as tx:
        return grant(tx, schema, role)


def grant(tx: Connection, schema: str, role: str) -> str:
    """Make the role, if there is none of this name, and give it what serving needs: of the audit,
    reading and adding to it. What it has to be told is answered as a sentence.
    """
    if not _NAME.fullmatch(role):
        raise RoleRefused(f"{role!r} is no name for a role: use lower-case letters, digits and _")
    known = tx.exec_driver_sql(_KNOWN, {"role": role}).one_or_none()
    if known is None:
        tx.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
    elif known.rolsuper or tx.exec_driver_sql(_OWNS, {"schema": schema, "role": role}).scalar_one():
        raise RoleRefused(
            f"role {role} is a superuser, or owns these tables: it could change the audit all the"
            " same; name another one, which `migrate` makes"
        )
    audit = f"{schema}.{EVENTS}, {schema}.{SEALS}"
    for statement in (
        f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
        f"REVOKE ALL ON {audit} FROM {role}",
        f"GRANT SELECT ON {audit} TO {role}",
        # When, in which transaction and under which id is the database's to say.
        f"GRANT INSERT ({', '.join(WRITTEN)}) ON {schema}.{EVENTS} TO {role}",
        f"GRANT INSERT ON {schema}.{SEALS} TO {role}",
    ):
        tx.exec_driver_sql(statement)
    sentence = f"role {role} may serve, and not change the audit"
    return (
        sentence
        if known
        else f"{sentence}; it is new: give it a password, or another way to log in"
    )
