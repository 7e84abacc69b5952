"""Statements that each connection prepares once.

psycopg2 sends text, and PostgreSQL parses and plans text anew whenever it comes: for a lookup by
key that takes four times as long as the lookup itself. A pooler in transaction mode gives every
transaction another connection, which knows no statement of ours; there the text goes as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, CursorResult, Engine, event

_PLANNED: Final = "planned"
_PARAMETER: Final = re.compile(r"%\((\w+)\)s::(\w+(?:\[\])?)")


class Prepared:
    """One statement, whose parameters are all written with their type: `%(hashes)s::bytea[]`.

    `prepare` and `execute` are for connections that this module does not look after.
    """

    def __init__(self, name: str, text: str) -> None:
        types: dict[str, str] = dict(_PARAMETER.findall(text))
        places = {parameter: place for place, parameter in enumerate(types, 1)}
        planned = _PARAMETER.sub(lambda found: f"${places[found[1]]}::{found[2]}", text)
        given = ", ".join(f"%({parameter})s::{types[parameter]}" for parameter in types)
        self._name = name
        self._text = text
        # Sent with no parameters, but with their syntax: a % is written twice here, too.
        self.prepare = f"PREPARE {name} AS {planned}"
        self.execute = f"EXECUTE {name} ({given})"

    def run(self, connection: Connection, parameters: Mapping[str, Any]) -> CursorResult[Any]:
        planned: set[str] | None = connection.info.get(_PLANNED)
        if planned is None:
            return connection.exec_driver_sql(self._text, dict(parameters))
        if self._name not in planned:
            # Outlives a transaction that is rolled back.
            connection.exec_driver_sql(self.prepare)
            planned.add(self._name)
        return connection.exec_driver_sql(self.execute, dict(parameters))


def remember_plans(engine: Engine) -> None:
    """Let the connections of this engine keep what they planned, for as long as they live."""

    @event.listens_for(engine, "connect")
    def begin(_driver_connection: object, record: Any) -> None:
        record.info[_PLANNED] = set()


def arrays_of(items: Sequence[NamedTuple]) -> dict[str, list[Any]]:
    """What unnest() takes of one or more items of one kind: by field, its value of each item. So a
    parameter is called as the field, and is an array of its type.
    """
    return dict(zip(items[0]._fields, map(list, zip(*items, strict=True)), strict=True))


def bytea_array(values: Iterable[bytes | None]) -> str:
    """An array as PostgreSQL writes one: a single text to bind, where a list costs one for each."""
    parts = ("NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values)
    return "{" + ",".join(parts) + "}"


def plain_array(values: Iterable[object]) -> str:
    """The same of numbers, ids and moments, whose texts need no quotes."""
    return "{" + ",".join(map(str, values)) + "}"
