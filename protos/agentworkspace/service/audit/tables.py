"""The tables of the audit, as both services have them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, DateTime, LargeBinary, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

EVENTS: Final = "audit_events"
SEALS: Final = "audit_seals"
# What its writers name; the database itself says when, in which transaction, and under which id.
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
# The transaction that runs.
XACT: Final = "pg_current_xact_id()::text::bigint"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLog:
    """Where a service's audit lies. `time` is the name of its column, `order` the columns by which
    it is listed, `more` are columns of this service's own that the seals cover, too.
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
    """One seal over the rows that follow those of the seal before. Only ever inserted.

    `rows` counts all that are sealed so far; up to the place of `xact` and `event_id` there can be
    no others. Transactions from `horizon` on had not begun. A seal that begins a chain has moved
    the places of all rows before it down by `shift`. `pruned`: all up to that seal may be gone.
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
    # Of each row its id, 16 bytes, and its digest, 32.
    entries: Mapped[bytes] = mapped_column(LargeBinary)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    key_id: Mapped[str] = mapped_column(Text)
    signature: Mapped[bytes] = mapped_column(LargeBinary)


def readable(time: str) -> str:
    """SQL: this time, or the nearest one that Python can hold. The database holds more, and
    whoever edits may write any of them; digests are made of the time itself.
    """
    return f"greatest('0001-01-02 UTC', least('9999-12-30 UTC', {time}))"


def digest_of_row(log: AuditLog, xact: str = "e.xact") -> str:
    """SQL: the digest of row `e`, whose place had this transaction when it was sealed."""
    written = ", ".join(f"e.{name}" for name in (*WRITTEN, *log.more))
    time = f"to_char(e.{log.time} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
    said = f"json_build_array({xact}, e.event_id, {time}, {written})"
    return f"sha256(convert_to({said}::text, 'UTF8'))"
