"""Sealing: puts the rows of finished transactions into the chain.

Rows are ordered by the id of their transaction. A row is sealed once every transaction with a
smaller id has ended, so that a late commit goes into a later seal and never between rows that are
sealed. Writers of rows never wait for sealing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection

from agentworkspace.core.audit import Change
from agentworkspace.service.audit import events, seals
from agentworkspace.service.audit.keys import AuditKeys
from agentworkspace.service.audit.seals import NO_DIGEST, NO_EVENT, Checkpoint, Seal
from agentworkspace.service.audit.tables import AuditLog, digest_of_row

ROWS_AT_ONCE: Final = 5000
# Below the transaction of every row: that of rows older than the column is 0.
_BEFORE_ALL: Final = -1
_LOCK: Final = "hashtextextended('agentworkspace audit {schema}', 0)"
_OVER: Final = "e.xact < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_NOW: Final = """
SELECT gen_random_uuid() AS id, statement_timestamp() AS time,
       pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS horizon
"""
_FRESH: Final = """
WITH fresh AS MATERIALIZED (
    SELECT e.xact, e.event_id, {digest} AS digest FROM {events} e
    WHERE (e.xact, e.event_id) > (%(xact)s, %(event_id)s::uuid) AND {over}
    ORDER BY e.xact, e.event_id LIMIT %(limit)s
)
SELECT count(*) AS rows,
       string_agg(uuid_send(event_id) || digest, ''::bytea ORDER BY xact, event_id) AS entries,
       max(xact) AS xact, (array_agg(event_id ORDER BY xact DESC, event_id DESC))[1] AS event_id,
       pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin,
       statement_timestamp() AS time,
       pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS horizon
FROM fresh
"""
_PENDING: Final = """
SELECT newest.number, newest.digest, newest.rows, newest.chain::text, newest.key_id,
       newest.signature,
       extract(epoch FROM clock_timestamp() - newest.time)::float8 AS quiet,
       (SELECT digest FROM {seals} WHERE number = %(remembered)s) AS remembered, waiting.*
FROM (SELECT) one
LEFT JOIN (SELECT * FROM {seals} ORDER BY number DESC LIMIT 1) newest ON true
LEFT JOIN LATERAL (
    SELECT extract(epoch FROM clock_timestamp() - e.{time})::float8 AS age, {over} AS is_over
    FROM {events} e WHERE (e.xact, e.event_id) > (newest.xact, newest.event_id)
    ORDER BY e.xact, e.event_id LIMIT 1
) waiting ON true
"""
_MAY: Final = "SELECT has_column_privilege('{events}', 'xact', 'UPDATE')"
# Rows that the new server, which counts anew, wrote after the newest seal keep their place.
_SHIFT: Final = """
UPDATE {events} SET xact = xact - %(shift)s
WHERE NOT (xact <= %(horizon)s AND {time} > %(since)s)
"""


class CountsAnew(Exception):
    """The server's transaction ids are below the sealed ones: it holds another server's data."""


class MayNotMove(Exception):
    """This role may not begin a chain on another server; nothing was changed."""


class WasSigned(Exception):
    """The newest seal is signed, and there is no key to sign the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """How far the sealing is.

    `newest`: the checkpoint of the newest seal. `quiet`: seconds since that seal. `age`: seconds
    since the oldest unsealed row was written, None when there is none; `is_over`: whether it can be
    sealed. `remembered`: the digest that the seal `seen` by the caller has now; None: it is gone.
    """

    newest: Checkpoint | None
    quiet: float
    age: float | None
    is_over: bool
    remembered: bytes | None


def pending(tx: Connection, log: AuditLog, seen: Checkpoint | None) -> Pending:
    """How far the sealing is, by one statement. `seen`: the newest seal at the last look."""
    remembered = {"remembered": 0 if seen is None else seen.number}
    row = tx.exec_driver_sql(log.sql(_PENDING, over=_OVER), remembered).one()
    newest = None
    if row.number is not None:
        newest = Checkpoint(
            schema=log.schema,
            chain=row.chain,
            number=row.number,
            rows=row.rows,
            digest=bytes(row.digest),
            key_id=row.key_id,
            signature=bytes(row.signature),
        )
    found = row.remembered
    return Pending(
        newest=newest,
        quiet=row.quiet or 0.0,
        age=row.age,
        is_over=bool(row.is_over),
        remembered=None if found is None else bytes(found),
    )


def seal(
    tx: Connection,
    log: AuditLog,
    keys: AuditKeys,
    *,
    limit: int = ROWS_AT_ONCE,
    nothing: bool = False,
) -> Seal | None:
    """Append the next seal; None when there is nothing to seal, or another replica is sealing.

    `nothing`: make a seal even without rows, so that none can be inserted there later. The very
    first seal begins the chain and has no rows. Raises CountsAnew and WasSigned.
    """
    locked = f"SELECT pg_try_advisory_xact_lock({_LOCK.format(schema=log.schema)})"
    if not tx.exec_driver_sql(locked).scalar_one():
        return None
    last = seals.newest(tx, log)
    if last is None:
        return _begin(tx, log, keys, None, "the first chain")
    _require_key(last, keys)
    place = {"xact": last.xact, "event_id": last.event_id, "limit": limit}
    found = tx.exec_driver_sql(log.sql(_FRESH, over=_OVER, digest=digest_of_row(log)), place).one()
    if last.xact >= found.horizon:
        raise CountsAnew
    if not found.rows and not nothing:
        return None
    is_all = found.rows < limit
    sealed = replace(
        _after(last, found),
        rows=last.rows + found.rows,
        xact=found.xmin - 1 if is_all else found.xact,
        event_id=seals.LAST_EVENT if is_all else str(found.event_id),
        entries=bytes(found.entries or b""),
    )
    return seals.append(tx, log, sealed, keys)


def begin_chain(tx: Connection, log: AuditLog, keys: AuditKeys, *, reason: str) -> Seal:
    """Begin a new chain after the newest seal, when the database was restored or moved.

    Checkpoints of the former chain are not compared with seals of the new one. Waits while another
    process seals. On a server that counts transactions anew, the rows are renumbered, which
    needs the role of `migrate`. Raises MayNotMove, WasSigned.
    """
    lock(tx, log)
    last = seals.newest(tx, log)
    # `verify` takes a new chain without a reason for an edited seal.
    begun = _begin(tx, log, keys, last, reason.strip() or "no reason was given")
    ended = "" if last is None else last.chain
    details = {"from": ended, "to": begun.chain, "reason": begun.reason}
    note(tx, log, "audit.chain_begun", details)
    return begun


def lock(tx: Connection, log: AuditLog) -> None:
    """Keep all others from sealing until the transaction ends."""
    tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK.format(schema=log.schema)})")


def next_seal(tx: Connection, log: AuditLog, keys: AuditKeys, last: Seal, **said: Any) -> Seal:
    """Append a seal without rows, with the columns `said`."""
    _require_key(last, keys)
    now = tx.exec_driver_sql(_NOW).one()
    return seals.append(tx, log, replace(_after(last, now), **said), keys)


def note(tx: Connection, log: AuditLog, action: str, details: dict[str, str]) -> None:
    """Write a row about something that was done to the audit itself."""
    change = Change(action=action, tenant_id="", workspace_id=None, details=details)
    events.append(tx, log.schema, (change,), actor="system", method="", correlation_id="")


def _begin(tx: Connection, log: AuditLog, keys: AuditKeys, last: Seal | None, reason: str) -> Seal:
    """Append the seal with which a chain begins; it has no rows."""
    now = tx.exec_driver_sql(_NOW).one()
    if last is None:
        last = Seal(
            number=0,
            chain=NO_EVENT,
            time=now.time,
            rows=0,
            xact=_BEFORE_ALL,
            event_id=NO_EVENT,
            horizon=now.horizon,
            digest=NO_DIGEST,
        )
    _require_key(last, keys)
    shift = _shift(tx, log, last, now.horizon)
    begun = replace(
        _after(last, now), chain=str(now.id), xact=last.xact - shift, shift=shift, reason=reason
    )
    return seals.append(tx, log, begun, keys)


def _after(last: Seal, now: Any) -> Seal:
    """The seal that follows the last one, without rows yet."""
    return Seal(
        number=last.number + 1,
        chain=last.chain,
        time=now.time,
        rows=last.rows,
        xact=last.xact,
        event_id=last.event_id,
        horizon=now.horizon,
        previous=last.digest,
    )


def _require_key(last: Seal, keys: AuditKeys) -> None:
    if last.key_id and not keys.signing:
        raise WasSigned


def _shift(tx: Connection, log: AuditLog, last: Seal, horizon: int) -> int:
    """Renumber older rows below 0 when the server counts transactions anew; returns by how much."""
    if last.xact < horizon:
        return 0
    if not tx.exec_driver_sql(log.sql(_MAY)).scalar_one():
        raise MayNotMove
    greatest = tx.exec_driver_sql(log.sql("SELECT max(xact) FROM {events}")).scalar_one()
    shift: int = max(greatest or 0, last.xact) + 1
    parameters = {"shift": shift, "horizon": horizon, "since": last.time}
    tx.exec_driver_sql(log.sql(_SHIFT), parameters)
    return shift
