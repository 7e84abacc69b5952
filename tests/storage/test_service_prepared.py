"""Statements that a connection plans once, and what that must not change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import pytest
from sqlalchemy import Column, MetaData, String, Table, Uuid

from agentworkspace.core.secret import Secret
from agentworkspace.service.prepared import Prepared, array, arrays_of, bytea_array, columns
from registry_service.storage import checks, standings, steady
from registry_service.storage.lines import PLANS
from registry_service.storage.store import Store, open_store

BETWEEN = Prepared(
    "between",
    "SELECT n FROM generate_series(%(low)s::bigint, %(high)s::bigint) AS n "
    "WHERE n <> ALL(%(without)s::bigint[]) AND n >= %(low)s::bigint",
)
BOXES = Table(
    "boxes",
    MetaData(),
    Column("box_id", Uuid, primary_key=True),
    Column("name", String),
    Column("note", String),
)
BY_NAME = Prepared(
    "by_name",
    f"SELECT {columns(BOXES)} FROM boxes WHERE name = %(name)s::text",  # noqa: S608
)
WANTED = {"low": 1, "high": 4, "without": [3]}
KNOWN_PLANS = "SELECT name FROM pg_prepared_statements ORDER BY name"


@pytest.fixture
def store(registry_database: str) -> Iterator[Store]:
    store = open_store(Secret(registry_database), pool_size=1)
    yield store
    store.database.close()


def test_the_parameters_become_places_and_keep_their_types() -> None:
    assert BETWEEN.prepare == (
        "PREPARE between AS SELECT n FROM generate_series($1::bigint, $2::bigint) AS n "
        "WHERE n <> ALL($3::bigint[]) AND n >= $1::bigint"
    )
    assert BETWEEN.execute == (
        "EXECUTE between (%(low)s::bigint, %(high)s::bigint, %(without)s::bigint[])"
    )


def test_a_connection_plans_a_statement_once_and_answers_the_same_every_time(store: Store) -> None:
    for _ in range(2):
        with store.transaction() as connection:
            assert BETWEEN.run(connection, WANTED).scalars().all() == [1, 2, 4]
    with store.reading() as connection:
        assert connection.exec_driver_sql(KNOWN_PLANS).scalars().all() == ["between"]


def test_a_plan_outlives_the_transaction_that_made_it_and_was_rolled_back(store: Store) -> None:
    with store.reading() as connection:
        BETWEEN.run(connection, WANTED)
    with store.reading() as connection:
        assert BETWEEN.run(connection, WANTED).scalars().all() == [1, 2, 4]


def test_columns_are_listed_by_name_and_ids_come_as_text() -> None:
    assert columns(BOXES) == "box_id::text AS box_id, name, note"
    assert columns(BOXES, "b", but=("note",)) == "b.box_id::text AS box_id, b.name"


def test_a_plan_with_named_columns_outlives_a_migration_that_adds_one(store: Store) -> None:
    found = ("0b6ae4a6-6c0b-4ee7-9d0a-1f6b8f2f5a11", "one", None)
    with store.transaction() as connection:
        connection.exec_driver_sql("CREATE TABLE boxes (box_id uuid, name text, note text)")
        connection.exec_driver_sql("INSERT INTO boxes VALUES (%s, %s, %s)", found)
        assert [tuple(row) for row in BY_NAME.run(connection, {"name": "one"})] == [found]
    with store.transaction() as connection:
        connection.exec_driver_sql("ALTER TABLE boxes ADD COLUMN more text")
    with store.reading() as connection:
        assert [tuple(row) for row in BY_NAME.run(connection, {"name": "one"})] == [found]
        assert connection.exec_driver_sql(KNOWN_PLANS).scalars().all() == ["by_name"]


def test_through_a_pooler_the_text_goes_as_it_is(registry_database: str) -> None:
    engine = open_store(Secret(registry_database), pooled=True).database.engine
    with engine.connect() as connection:
        assert BETWEEN.run(connection, WANTED).scalars().all() == [1, 2, 4]
        assert connection.exec_driver_sql(KNOWN_PLANS).scalars().all() == []
    engine.dispose()


@pytest.mark.parametrize(
    ("statement", "asked", "hashes", "others"),
    [
        (checks.KNOWN, "known ('{}'::bytea[])", "$1", ["workspaces"]),
        (
            steady.BEATING,
            "beating ('45 s'::interval, '{}'::bytea[])",
            "$2",
            ["workspaces", "registrations"],
        ),
    ],
)
def test_a_plan_kept_since_the_tables_were_empty_is_a_lookup_by_key(
    registry_database: str, statement: Prepared, asked: str, hashes: str, others: list[str]
) -> None:
    database = open_store(Secret(registry_database)).database
    connection = database.connect(PLANS, purpose="line")
    with connection, connection.cursor() as cursor:
        cursor.execute("SET plan_cache_mode = force_generic_plan")
        cursor.execute(statement.prepare, {})
        cursor.execute(f"EXPLAIN EXECUTE {asked}")
        plan = [line for (line,) in cursor.fetchall()]
    connection.close()
    assert any(f"Index Cond: (token_sha256 = ANY ({hashes}))" in line for line in plan)
    by_workspace = [line for line in plan if "Index Cond: (workspace_id = t.workspace_id)" in line]
    assert len(by_workspace) == len(others)
    for table in ("tokens", *others):
        assert not any(f"Seq Scan on {table}" in line for line in plan)


def test_columns_that_a_migration_adds_while_we_serve_change_no_answer(store: Store) -> None:
    for _ in range(2):
        with store.transaction() as connection:
            assert checks.known(connection, [b"1" * 32]).by_hash == {}
            assert standings.bearers(connection, [b"1" * 32]).by_hash == {}
            for table in ("tokens", "workspaces", "feed"):
                connection.exec_driver_sql(
                    f"ALTER TABLE registry.{table} ADD COLUMN IF NOT EXISTS added text"
                )


def test_hashes_travel_as_one_text() -> None:
    assert bytea_array([b"\x00\xff", b"ab"]) == '{"\\\\x00ff","\\\\x6162"}'
    assert bytea_array([]) == "{}"


class Kind(StrEnum):
    PLAIN = "PLAIN"
    QUOTED = """it's "{,}" """


class Item(NamedTuple):
    digest: bytes | None
    kind: Kind
    span: timedelta | None


ITEMS = [Item(b"\x00'", Kind.QUOTED, None), Item(None, Kind.PLAIN, timedelta(minutes=2))]


def test_items_become_an_array_of_each_field() -> None:
    assert arrays_of(ITEMS) == {
        "digest": """{"\\\\x0027",NULL}""",
        "kind": """{"it's \\"{,}\\" ","PLAIN"}""",
        "span": """{NULL,"0 days 120.000000 s"}""",
    }
    assert arrays_of(ITEMS[1:]) == {
        "digest": "{NULL}",
        "kind": """{"PLAIN"}""",
        "span": """{"0 days 120.000000 s"}""",
    }


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["plain", "two words", ""], "text"),
        (
            ['"', "\\", '\\"', "{,}", "NULL", "null", None, "tab\tand\nline", "ä 🙂", "%s %(a)s"],
            "text",
        ),
        ([None], "text"),
        (["", ""], "text"),
        ([True, False, None], "boolean"),
        ([0, -1, 2**62, None], "bigint"),
        ([timedelta(days=400, microseconds=1), timedelta(0), None], "interval"),
        ([datetime(2026, 11, 30, 1, 2, 3, 4, tzinfo=UTC), None], "timestamptz"),
        (['{"a": "b\\"c", "d": "e\\\\f"}', "[]"], "text"),
    ],
)
def test_an_array_arrives_as_it_was(store: Store, values: list[object], kind: str) -> None:
    echo = Prepared(f"echo_{kind}", f"SELECT %(values)s::{kind}[] AS found")
    with store.transaction() as connection:
        assert echo.run(connection, {"values": array(values)}).one().found == values


def test_an_array_of_nothing_is_one() -> None:
    assert array([]) == "{}"


@pytest.mark.parametrize("count", [1, 2])
def test_arrays_arrive_as_the_items_were(store: Store, count: int) -> None:
    echo = Prepared(
        "echo",
        "SELECT * FROM unnest(%(digest)s::bytea[], %(kind)s::text[], %(span)s::interval[])"
        " AS item (digest, kind, span)",
    )
    with store.transaction() as connection:
        rows = echo.run(connection, arrays_of(ITEMS[:count])).all()
    assert [(row.digest and bytes(row.digest), row.kind, row.span) for row in rows] == [
        (b"\x00'", """it's "{,}" """, None),
        (None, "PLAIN", timedelta(minutes=2)),
    ][:count]
