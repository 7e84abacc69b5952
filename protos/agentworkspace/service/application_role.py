"""The database role of the serving processes, which may add to the audit but not change it."""

from __future__ import annotations

import re
from typing import Final

from alembic.util import CommandError
from sqlalchemy import Connection

from agentworkspace.core.secret import Secret
from agentworkspace.service.audit.tables import EVENTS, SEALS, WRITTEN
from agentworkspace.service.database import open_once

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_KNOWN: Final = "SELECT FROM pg_roles WHERE rolname = %(role)s"
# Whether the role, or one that it can become, could change the audit, be it by rights of PUBLIC.
# Owners count, because they may grant themselves anything.
_COULD_CHANGE: Final = """
SELECT EXISTS (
    SELECT FROM pg_roles each
    WHERE pg_has_role(%(role)s, each.oid, 'MEMBER')
        AND (each.rolsuper
             OR EXISTS (SELECT FROM pg_namespace space LEFT JOIN pg_class held
                            ON held.relnamespace = space.oid
                        WHERE space.nspname = %(schema)s
                            AND each.oid IN (space.nspowner, held.relowner))
             OR has_any_column_privilege(each.oid, %(events)s, 'UPDATE')
             OR has_column_privilege(each.oid, %(events)s, 'xact', 'INSERT')
             OR has_table_privilege(each.oid, %(events)s, 'DELETE, TRUNCATE, TRIGGER')
             OR has_any_column_privilege(each.oid, %(seals)s, 'UPDATE')
             OR has_table_privilege(each.oid, %(seals)s, 'DELETE, TRUNCATE, TRIGGER')))
"""


class RoleRefused(CommandError):
    """The role's name is malformed, or it could change the audit anyway; nothing was granted."""


def made(url: Secret, schema: str, role: str) -> str:
    """Do `grant` in a transaction of its own, with the URL of a role that may make roles."""
    with open_once(url, name=f"{schema}-service migrate") as engine, engine.begin() as tx:
        return grant(tx, schema, role)


def grant(tx: Connection, schema: str, role: str) -> str:
    """Make the role, if there is none of this name, and give it what serving needs.

    Of the audit that is reading and adding to it. Returns a sentence for the operator. Raises
    RoleRefused.
    """
    if not _NAME.fullmatch(role):
        raise RoleRefused(f"{role!r} is no name for a role: use lower-case letters, digits and _")
    is_new = tx.exec_driver_sql(_KNOWN, {"role": role}).one_or_none() is None
    if is_new:
        tx.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
    events, seals = f"{schema}.{EVENTS}", f"{schema}.{SEALS}"
    audit = f"{events}, {seals}"
    for statement in (
        f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
        f"REVOKE ALL ON {audit} FROM {role}",
        f"GRANT SELECT ON {audit} TO {role}",
        # The other columns (time, transaction, id) are filled in by the database's defaults.
        f"GRANT INSERT ({', '.join(WRITTEN)}) ON {events} TO {role}",
        f"GRANT INSERT ON {seals} TO {role}",
    ):
        tx.exec_driver_sql(statement)
    asked = {"schema": schema, "role": role, "events": events, "seals": seals}
    if tx.exec_driver_sql(_COULD_CHANGE, asked).scalar_one():
        raise RoleRefused(
            f"role {role} could change the audit all the same, so nothing was granted: it is a"
            " superuser, owns these tables, or has rights on them by a role that it is a member of"
            " or as PUBLIC; take these away, or name another role, which `migrate` makes"
        )
    sentence = f"role {role} may serve, and not change the audit"
    return (
        f"{sentence}; it is new: give it a password, or another way to log in"
        if is_new
        else sentence
    )
