"""Faults of the database, and its schema."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from agentworkspace.core.refusal import AnyReason, Refusal, SharedReason
from provision_service.domain.refusals import Reason
from provision_service.storage import migrate
from provision_service.storage.engine import BadDatabaseUrl, build_engine, driver_url
from provision_service.storage.faults import guarded, refusal_for
from tests.storage.provision_world import World, at_once, emptied, opened, refused


@pytest.fixture
def world(provision_database_of_module: str, tmp_path: Path) -> Iterator[World]:
    with opened(emptied(provision_database_of_module), tmp_path) as each:
        yield each


class Failed(psycopg2.Error):
    def __init__(self, state: str | None) -> None:
        super().__init__("detail with a password")
        self._state = state

    @property
    def pgcode(self) -> str | None:  # type: ignore[override]
        return self._state


def failure(state: str | None) -> DBAPIError:
    return DBAPIError("SELECT 1", None, Failed(state))


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("40001", SharedReason.CONFLICT),
        ("40P01", SharedReason.CONFLICT),
        ("57014", SharedReason.DEADLINE),
        ("55P03", SharedReason.DEADLINE),
        ("57P01", SharedReason.STORE_UNAVAILABLE),
        ("08006", SharedReason.STORE_UNAVAILABLE),
        ("53300", SharedReason.STORE_UNAVAILABLE),
        ("25006", SharedReason.STORE_UNAVAILABLE),
        ("42P01", SharedReason.STORE_UNAVAILABLE),
    ],
)
def test_a_fault_of_the_database_has_a_public_reason(state: str, reason: AnyReason) -> None:
    refusal = refusal_for(failure(state))
    assert refusal is not None
    assert refusal.reason is reason
    assert "password" not in refusal.message


def test_a_lost_connection_is_unavailable_and_a_full_pool_is_overload() -> None:
    lost = OperationalError("SELECT 1", None, psycopg2.OperationalError("gone"))
    refusal = refusal_for(lost)
    assert refusal is not None
    assert refusal.reason is SharedReason.STORE_UNAVAILABLE
    assert refusal.retry_after is not None
    full = refusal_for(PoolTimeout())
    assert full is not None
    assert full.reason is SharedReason.OVERLOADED


def test_a_fault_of_the_service_is_not_dressed_up() -> None:
    assert refusal_for(failure("23505")) is None
    with pytest.raises(DBAPIError):
        guarded(lambda: _raise(failure("23505")))


def test_a_lost_race_is_run_again_and_in_the_end_a_conflict() -> None:
    tries = []

    def twice_lost() -> str:
        tries.append(1)
        return _raise(failure("40001")) if len(tries) < 3 else "done"

    assert guarded(twice_lost) == "done"
    with refused(SharedReason.CONFLICT):
        guarded(lambda: _raise(failure("40P01")))


def test_a_call_without_time_is_refused_before_it_reaches_the_database(world: World) -> None:
    with refused(SharedReason.DEADLINE), world.store.within(lambda: 0.0).reading():
        pass


def test_a_statement_that_takes_too_long_is_a_deadline(world: World) -> None:
    def slow() -> None:
        with world.store.within(lambda: 0.05).reading() as tx:
            tx.execute(text("SELECT pg_sleep(5)"))

    with refused(SharedReason.DEADLINE):
        guarded(slow)


def test_a_stale_connection_is_replaced_and_nothing_is_lost(world: World) -> None:
    workspace = world.create()
    world.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND application_name = 'provision-service'"
    )
    assert world.read(workspace) == workspace


def test_a_read_never_writes(world: World) -> None:
    with pytest.raises(DBAPIError), world.store.reading() as tx:
        tx.execute(text("DELETE FROM provision.workspaces"))


def test_a_read_sees_one_snapshot(world: World) -> None:
    with world.store.reading() as tx:
        before = tx.execute(text("SELECT count(*) FROM provision.workspaces")).scalar_one()
        world.create()
        after = tx.execute(text("SELECT count(*) FROM provision.workspaces")).scalar_one()
    assert before == after == 0


def test_a_database_that_was_never_migrated_is_unavailable(
    empty_database: str, tmp_path: Path
) -> None:
    def start() -> None:
        with opened(empty_database, tmp_path):
            pass

    with refused(SharedReason.STORE_UNAVAILABLE):
        guarded(start)


def test_the_migrations_make_exactly_the_tables_of_the_models(empty_database: str) -> None:
    assert migrate.check(empty_database) != []
    migrate.upgrade(empty_database)
    assert migrate.check(empty_database) == []
    migrate.upgrade(empty_database)
    engine = build_engine(empty_database, pool_size=1)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE provision.workspaces ADD COLUMN extra text"))
    engine.dispose()
    assert len(migrate.check(empty_database)) == 1


def test_replicas_that_migrate_at_once_do_it_once(empty_database: str) -> None:
    answers = at_once([lambda: migrate.upgrade(empty_database) for _ in range(4)])
    assert answers == [None] * 4
    assert migrate.check(empty_database) == []


def test_the_version_lies_inside_the_schema(provision_database: str) -> None:
    engine = build_engine(provision_database, pool_size=1)
    with engine.connect() as connection:
        outside = connection.execute(
            text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        ).scalar_one()
    engine.dispose()
    assert outside == 0


@pytest.mark.parametrize("url", ["", "not a url", "mysql://h/d", "postgresql://u:pa:ss@h:port/d"])
def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(BadDatabaseUrl) as caught:
        driver_url(url)
    assert "pa:ss" not in str(caught.value)


def test_any_spelling_of_postgresql_gets_the_driver_of_this_service() -> None:
    for url in ("postgresql://u@h/d", "postgresql+psycopg2://u@h/d", "postgres://u@h/d"):
        assert driver_url(url) == "postgresql+psycopg2://u@h/d"


def _raise(error: Exception) -> Any:
    raise error


def test_refusals_are_handed_through() -> None:
    refusal = Refusal(Reason.ETAG_MISMATCH, "no")
    with pytest.raises(Refusal) as caught:
        guarded(lambda: _raise(refusal))
    assert caught.value is refusal
