"""A migration that does not get its locks says who has them, holds up nobody, and gives up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import psycopg2
import pytest
from sqlalchemy import MetaData

from agentworkspace.core.secret import Secret
from agentworkspace.service import migrate
from agentworkspace.service.migrate import LocksHeld, NotApplied, Schema

SECONDS: Final = 30.0
TURN: Final = 4_711
REVISION: Final = """
from alembic import op

revision = "{number}"
down_revision = {before}
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("{statement}")
"""


class Said:
    """What a migration said, and a way to wait for it."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self._more = threading.Condition()

    def __call__(self, sentence: str) -> None:
        with self._more:
            self.sentences.append(sentence)
            self._more.notify_all()

    def wait_for(self, start: str) -> str:
        def found() -> str | None:
            return next((each for each in self.sentences if each.startswith(start)), None)

        with self._more:
            said = self._more.wait_for(found, SECONDS)
        assert said is not None, self.sentences
        return said


@pytest.fixture
def schema(tmp_path: Path, empty_database: str) -> Schema:
    """One with a table, and a migration to come that needs the table for itself."""
    made = Schema(name="things", tables=MetaData(), versions=tmp_path, turn=TURN)
    statement = "CREATE TABLE things.things (id integer); CREATE TABLE things.others (id integer)"
    (tmp_path / "0001.py").write_text(REVISION.format(number=1, before=None, statement=statement))
    migrate.upgrade(made, Secret(empty_database))
    statement = "ALTER TABLE things.things ADD COLUMN name text"
    (tmp_path / "0002.py").write_text(REVISION.format(number=2, before="'1'", statement=statement))
    return made


@pytest.fixture
def holder(empty_database: str) -> Iterator[Any]:
    with closing(connect(empty_database, "a dump of last night")) as connection:
        yield connection


def connect(url: str, name: str) -> Any:
    return psycopg2.connect(url.replace("+psycopg2", ""), application_name=name)


def run(connection: Any, statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        rows: list[Any] = cursor.fetchall()
        return rows


def columns(url: str) -> list[str]:
    with closing(connect(url, "the test")) as connection:
        statement = "SELECT attname FROM pg_attribute WHERE attnum > 0 AND attrelid = %s::regclass"
        with connection.cursor() as cursor:
            cursor.execute(statement, ("things.things",))
            return [name for (name,) in cursor]


def upgraded(callers: ThreadPoolExecutor, schema: Schema, url: str, said: Said) -> Future[None]:
    return callers.submit(migrate.upgrade, schema, Secret(url), say=said)


def test_it_names_who_reads_the_table_lets_readers_through_and_goes_on_after(
    schema: Schema, empty_database: str, holder: Any
) -> None:
    run(holder, "SELECT count(*) FROM things.things")
    said, pid = Said(), holder.info.backend_pid
    with ThreadPoolExecutor() as callers, closing(connect(empty_database, "a service")) as reader:
        upgrading = upgraded(callers, schema, empty_database, said)
        sentence = said.wait_for("waits for")
        expected = f"waits for table things.things, which process {pid} has (a dump of last night, "
        assert sentence.startswith(f"{expected}idle in transaction for ")
        # It stands behind the migration, and does not stand there for long.
        assert run(reader, "SELECT count(*) FROM things.things") == [(0,)]
        reader.rollback()
        assert not upgrading.done()
        said.wait_for("lets those through who wait behind it, and tries again")
        holder.rollback()
        upgrading.result(SECONDS)
    assert columns(empty_database) == ["id", "name"]


def test_it_gives_up_changes_nothing_and_says_the_next_step(
    schema: Schema, empty_database: str, holder: Any
) -> None:
    run(holder, "SELECT count(*) FROM things.things")
    with pytest.raises(LocksHeld) as refused:
        migrate.upgrade(schema, Secret(empty_database), patience=timedelta(0))
    message, pid = str(refused.value), holder.info.backend_pid
    assert message.startswith("gave up after 0 s; nothing has changed. It waited for table things.")
    assert message.endswith(
        f"Run it again when that is over, or end it: SELECT pg_terminate_backend({pid})"
    )
    assert columns(empty_database) == ["id"]


def test_it_names_the_migration_that_it_takes_turns_with(
    schema: Schema, empty_database: str, holder: Any
) -> None:
    run(holder, f"SELECT pg_advisory_xact_lock({TURN})")
    said, pid = Said(), holder.info.backend_pid
    with ThreadPoolExecutor() as callers:
        upgrading = upgraded(callers, schema, empty_database, said)
        assert said.wait_for("waits for").startswith(f"waits for its turn, which process {pid} has")
        holder.rollback()
        upgrading.result(SECONDS)
    assert columns(empty_database) == ["id", "name"]


def test_a_deadlock_with_those_who_serve_is_tried_again(
    schema: Schema, empty_database: str, holder: Any
) -> None:
    statement = "ALTER TABLE things.others ADD x text; ALTER TABLE things.things ADD name text"
    revision = REVISION.format(number=2, before="'1'", statement=statement)
    (schema.versions / "0002.py").write_text(revision)
    with holder.cursor() as cursor:
        # The migration is the one that notices.
        cursor.execute("SET deadlock_timeout = '1min'")
    run(holder, "SELECT count(*) FROM things.things")
    with ThreadPoolExecutor() as callers, closing(connect(empty_database, "the test")) as looker:
        looker.autocommit = True
        upgrading = upgraded(callers, schema, empty_database, Said())
        while not run(looker, "SELECT 1 FROM pg_locks WHERE NOT granted AND relation > 0"):
            assert not upgrading.done()
        run(holder, "SELECT count(*) FROM things.others")
        holder.rollback()
        upgrading.result(SECONDS)
    assert columns(empty_database) == ["id", "name"]


def test_a_statement_that_fails_is_no_lock(schema: Schema, empty_database: str) -> None:
    statement = "ALTER TABLE things.unknown ADD COLUMN name text"
    broken = REVISION.format(number=2, before="'1'", statement=statement)
    (schema.versions / "0002.py").write_text(broken)
    with pytest.raises(Exception, match="does not exist") as failed:
        migrate.upgrade(schema, Secret(empty_database))
    assert not isinstance(failed.value, LocksHeld)


def test_whoever_waits_for_the_migrations_goes_on_once_somebody_has_applied_them(
    schema: Schema, empty_database: str
) -> None:
    said, url = Said(), Secret(empty_database)
    with ThreadPoolExecutor(1) as callers:
        waiting = callers.submit(
            migrate.wait_until_applied, schema, url, patience=timedelta(seconds=SECONDS), say=said
        )
        said.wait_for("waits: the database is at revision 1, this version needs 2")
        migrate.upgrade(schema, url)
        waiting.result(SECONDS)
    assert len(said.sentences) == 1


def test_an_earlier_version_does_not_wait_on_a_database_of_a_later_one(
    schema: Schema, empty_database: str
) -> None:
    url = Secret(empty_database)
    migrate.upgrade(schema, url)
    with closing(connect(empty_database, "later")) as connection:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE things.alembic_version SET version_num = '9999'")
        connection.commit()
    migrate.wait_until_applied(schema, url, patience=timedelta(0))


def test_whoever_waits_in_vain_is_told_what_is_missing_and_the_next_step(
    schema: Schema, empty_database: str
) -> None:
    with pytest.raises(NotApplied) as failure:
        migrate.wait_until_applied(schema, Secret(empty_database), patience=timedelta(0))
    assert "the database is at revision 1, this version needs 2" in str(failure.value)
    assert str(failure.value).endswith(f"run `{schema.name}-service migrate`")
    away = Secret("postgresql://user:hunter2@127.0.0.1:1/none")
    with pytest.raises(NotApplied, match="the database does not answer") as failure:
        migrate.wait_until_applied(schema, away, patience=timedelta(0))
    assert "hunter2" not in str(failure.value)
