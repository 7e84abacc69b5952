"""The pulse: since when some replica was always up to hear boxes, by the database's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from registry_service.storage.store import Transaction

# If no replica wrote the pulse for longer, that counts as an outage.
LONGEST_GAP: Final = timedelta(seconds=6)

# After a gap `up_since` begins anew, whatever the reason for the gap.
_WRITE: Final = """
WITH clock AS (SELECT clock_timestamp() AS now)
INSERT INTO registry.pulse AS p (id, last_time, up_since)
SELECT 1, now, now FROM clock
ON CONFLICT (id) DO UPDATE
SET last_time = greatest(p.last_time, excluded.last_time),
    up_since = CASE WHEN excluded.last_time - p.last_time > %(longest_gap)s::interval
                    THEN excluded.last_time ELSE p.up_since END
RETURNING last_time, up_since
"""
# Columns `now` and `up_since`; the two are equal while nobody writes the pulse.
UPTIME: Final = """
SELECT clock.now, CASE WHEN clock.now - p.last_time <= %(longest_gap)s::interval
                       THEN p.up_since ELSE clock.now END AS up_since
FROM (SELECT clock_timestamp() AS now) clock LEFT JOIN registry.pulse p ON true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uptime:
    now: datetime
    up_since: datetime
    # How often boxes are asked to report.
    heartbeat_interval: timedelta


def write(tx: Transaction) -> Uptime:
    """Note that a replica is up; returns since when, without a gap."""
    row = tx.exec_driver_sql(_WRITE, {"longest_gap": LONGEST_GAP}).one()
    return _uptime(tx, row.last_time, row.up_since)


def read(tx: Transaction) -> Uptime:
    """Since when some replica was always up; since now if none is."""
    return uptime_of(tx, tx.exec_driver_sql(UPTIME, {"longest_gap": LONGEST_GAP}).one())


def uptime_of(tx: Transaction, row: Any) -> Uptime:
    """The uptime in a row with the columns of `UPTIME`, whose one parameter is `longest_gap`."""
    return _uptime(tx, row.now, row.up_since)


def _uptime(tx: Transaction, now: datetime, up_since: datetime) -> Uptime:
    return Uptime(now=now, up_since=up_since, heartbeat_interval=tx.heartbeat_interval)
