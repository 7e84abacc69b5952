"""Pruning: deletes rows that were kept for long enough, so that the rest can still be verified.

First a new seal says that everything up to an older one may be gone; from then on `verify` begins
with that older seal. Then rows and seals are deleted, portion by portion; it may be interrupted and
run again at any time. It needs the role of `migrate`, since the services' own role cannot delete.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, Engine

from agentworkspace.service.audit import sealing, seals
from agentworkspace.service.audit.keys import AuditKeys
from agentworkspace.service.audit.seals import Seal
from agentworkspace.service.audit.tables import AuditLog

ROWS_AT_ONCE: Final = 5000
_MAY: Final = "SELECT has_table_privilege('{events}', 'DELETE')"
_KEPT_LONG_ENOUGH: Final = "SELECT max(number) FROM {seals} WHERE time < now() - %(keep)s"
_SHIFT: Final = "SELECT coalesce(sum(shift), 0)::bigint FROM {seals} WHERE number > %(number)s"
_ROWS: Final = """
DELETE FROM {events} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {events} WHERE (xact, event_id) <= (%(xact)s, %(event_id)s::uuid)
    ORDER BY xact, event_id LIMIT %(limit)s))
"""
_SEALS: Final = "DELETE FROM {seals} WHERE number < %(number)s"


class MayNotDelete(Exception):
    """This role may not delete from the audit; nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How many rows were deleted. `said`: the new seal that says so, None if none was needed."""

    said: Seal | None
    rows: int


def prune(engine: Engine, log: AuditLog, keys: AuditKeys, *, keep: timedelta) -> Pruned:
    """Delete what was sealed longer than `keep` ago. Raises MayNotDelete, WasSigned."""
    with engine.begin() as tx:
        if not tx.exec_driver_sql(log.sql(_MAY)).scalar_one():
            raise MayNotDelete
        said = _say(tx, log, keys, keep)
    with engine.connect() as tx:
        number = seals.pruned_up_to(tx, log)
        base = next(seals.read(tx, log, "WHERE number = %(number)s", number=number), None)
        shift = tx.exec_driver_sql(log.sql(_SHIFT), {"number": number}).scalar_one()
    if base is None:
        return Pruned(said=said, rows=0)
    place = {"xact": base.xact - shift, "event_id": base.event_id, "limit": ROWS_AT_ONCE}
    rows, more = 0, True
    while more:
        with engine.begin() as tx:
            deleted = tx.exec_driver_sql(log.sql(_ROWS), place).rowcount
        rows += deleted
        more = deleted == ROWS_AT_ONCE
    with engine.begin() as tx:
        tx.exec_driver_sql(log.sql(_SEALS), {"number": number})
    return Pruned(said=said, rows=rows)


def _say(tx: Connection, log: AuditLog, keys: AuditKeys, keep: timedelta) -> Seal | None:
    """Append the seal that says what is pruned; None when that was said before."""
    sealing.lock(tx, log)
    base = seals.pruned_up_to(tx, log)
    old = tx.exec_driver_sql(log.sql(_KEPT_LONG_ENOUGH), {"keep": keep}).scalar_one()
    last = seals.newest(tx, log)
    if old is None or last is None or old <= base:
        return None
    details = {"from": str(base), "to": str(old), "kept_for": str(keep)}
    sealing.note(tx, log, "audit.pruned", details)
    return sealing.next_seal(tx, log, keys, last, pruned=old)
