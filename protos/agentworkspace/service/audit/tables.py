"""The tables of the audit, as both services have them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, DateTime, LargeBinary, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

EVENTS: Final = "audit_events"
SEALS: Final = "audit_seals"
# The columns that writers fill in. The database adds time, transaction and id by its defaults.
WRITTEN: Final = (
    "actor",
    "method",
    "action",
    "tenant_id",
    "workspace_id",
    "subject",
    "details",
    "correlation_id",
)
# SQL: the id of the current transaction.
XACT: Final = "pg_current_xact_id()::text::bigint"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLog:
    """Where a service's audit is: its database schema, and how its columns differ.

    `time` is the name of the time column, `order` are the columns by which rows are listed, and
    `more` are further columns of this service that the seals cover.
    """

    schema: str
    time: str = "time"
    order: tuple[str, ...] = ("time", "event_id")
    more: tuple[str, ...] = ()

    def sql(self, statement: str, **parts: str) -> str:
        """The statement with the names of these tables for {events}, {seals} and {time}."""
        events, seals = f"{self.schema}.{EVENTS}", f"{self.schema}.{SEALS}"
        return statement.format(events=events, seals=seals, time=self.time, **parts)


class AuditSealColumns:
    """A seal over the rows that follow those of the seal before it. Seals are never updated.

    `rows` counts all rows that are sealed so far. The seal's range ends at (`xact`, `event_id`), in
    which order rows are sealed: a row up to there must be in this seal or an earlier one. `horizon`
    is the first transaction id that had not been given out when it was made. A seal that begins a
    chain on another server has lowered the `xact` of all rows before it by `shift`. `pruned`: the
    number of a seal up to which everything may be gone.
    """

    __tablename__ = SEALS

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    chain: Mapped[str] = mapped_column(Uuid(as_uuid=False))
    time: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    rows: Mapped[int] = mapped_column(BigInteger)
    xact: Mapped[int] = mapped_column(BigInteger)
    event_id: Mapped[str] = mapped_column(Uuid(as_uuid=False))
    horizon: Mapped[int] = mapped_column(BigInteger)
    shift: Mapped[int] = mapped_column(BigInteger)
    pruned: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    previous: Mapped[bytes] = mapped_column(LargeBinary)
    # For each row its id (16 bytes) and its digest (32 bytes), one after the other.
    entries: Mapped[bytes] = mapped_column(LargeBinary)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    key_id: Mapped[str] = mapped_column(Text)
    signature: Mapped[bytes] = mapped_column(LargeBinary)


def readable(time: str) -> str:
    """SQL: this time, or the nearest one that Python can represent.

    Somebody who edits the audit may write any time that PostgreSQL can hold. Digests are made of
    the time itself.
    """
    return f"greatest('0001-01-02 UTC', least('9999-12-30 UTC', {time}))"


def digest_of_row(log: AuditLog, xact: str = "e.xact") -> str:
    """SQL: the digest of row `e`; `xact` is its transaction's number when it was sealed."""
    written = ", ".join(f"e.{name}" for name in (*WRITTEN, *log.more))
    time = f"to_char(e.{log.time} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
    said = f"json_build_array({xact}, e.event_id, {time}, {written})"
    return f"sha256(convert_to({said}::text, 'UTF8'))"
