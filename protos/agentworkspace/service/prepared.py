"""Statements that each connection prepares once.

psycopg2 sends every statement as text, which PostgreSQL parses and plans each time; for a look-up
by key that takes four times as long as the look-up itself. Through a pooler in transaction mode
nothing is prepared, because every transaction may be on another connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from types import NoneType
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Connection, CursorResult, Engine, FromClause, Uuid, event

_PLANNED: Final = "planned"
_PARAMETER: Final = re.compile(r"%\((\w+)\)s::(\w+(?:\[\])?)")


class Prepared:
    """One statement, whose parameters are all written with their type: `%(hashes)s::bytea[]`.

    `run` prepares it when needed; `prepare` and `execute` are its SQL, for connections that are not
    SQLAlchemy's.
    """

    def __init__(self, name: str, text: str) -> None:
        types: dict[str, str] = dict(_PARAMETER.findall(text))
        places = {parameter: place for place, parameter in enumerate(types, 1)}
        planned = _PARAMETER.sub(lambda found: f"${places[found[1]]}::{found[2]}", text)
        given = ", ".join(f"%({parameter})s::{types[parameter]}" for parameter in types)
        self._name = name
        self._text = text
        # Sent without parameters but through their formatting, so a % must be doubled here, too.
        self.prepare = f"PREPARE {name} AS {planned}"
        self.execute = f"EXECUTE {name} ({given})"

    def run(self, connection: Connection, parameters: Mapping[str, Any]) -> CursorResult[Any]:
        planned: set[str] | None = connection.info.get(_PLANNED)
        if planned is None:
            return connection.exec_driver_sql(self._text, dict(parameters))
        if self._name not in planned:
            # A prepared statement stays even when its transaction is rolled back.
            connection.exec_driver_sql(self.prepare)
            planned.add(self._name)
        return connection.exec_driver_sql(self.execute, dict(parameters))


def remember_plans(engine: Engine) -> None:
    """Have `Prepared.run` prepare statements on the connections of this engine, once on each."""

    @event.listens_for(engine, "connect")
    def begin(_driver_connection: object, record: Any) -> None:
        record.info[_PLANNED] = set()


def columns(table: FromClause, alias: str = "", *, but: Collection[str] = ()) -> str:
    """All columns of a table by name, ids as text, for a prepared statement: a `*` fails once a
    migration adds a column.
    """
    prefix = f"{alias}." if alias else ""
    return ", ".join(
        f"{prefix}{column.name}::text AS {column.name}"
        if isinstance(column.type, Uuid)
        else f"{prefix}{column.name}"
        for column in table.columns
        if column.name not in but
    )


def arrays_of(items: Sequence[NamedTuple]) -> dict[str, str]:
    """What unnest() takes of one or more items of one kind: by field, its value of each item. So a
    parameter is called as the field, and is an array of its type.
    """
    return dict(zip(items[0]._fields, map(array, zip(*items, strict=True)), strict=True))


def array(values: Iterable[object]) -> str:
    """The text of an array of any type that is used here. It is one value to bind, where PostgreSQL
    reads a list as one expression for each item, which takes longer than many a statement.
    """
    listed = tuple(values)
    kinds = set(map(type, listed))
    if kinds == {str}:
        inner = '","'.join(cast("tuple[str, ...]", listed))
        # Texts without anything to escape need no look at each.
        if "\\" not in inner and inner.count('"') == 2 * (len(listed) - 1):
            return f'{{"{inner}"}}'
    return "{" + ",".join([_WRITERS.get(type(each), _quoted)(each) for each in listed]) + "}"


def _quoted(value: object) -> str:
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _span(value: timedelta) -> str:
    return f'"{value.days} days {value.seconds}.{value.microseconds:06} s"'


_WRITERS: Final[Mapping[type, Callable[[Any], str]]] = {
    NoneType: lambda _: "NULL",
    bool: lambda value: "t" if value else "f",
    int: str,
    bytes: lambda value: f'"\\\\x{value.hex()}"',
    timedelta: _span,
}


def bytea_array(values: Iterable[bytes | None]) -> str:
    """The same as `array`, faster: for calls that ask about up to 1000 hashes."""
    parts = ("NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values)
    return "{" + ",".join(parts) + "}"
