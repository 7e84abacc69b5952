"""Faults of the database, and its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from agentworkspace.core.refusal import AnyReason, Refusal, SharedReason
from agentworkspace.core.secret import Secret
from agentworkspace.service import migrate
from agentworkspace.service.store_faults import StoreFault, attempt, refusal_of
from provision_service.domain.refusals import Reason
from provision_service.storage.schema import SCHEMA
from provision_service.storage.store import database
from tests.storage.provision_world import World, at_once, opened, refused


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
    refusal = refusal_of(failure(state))
    assert refusal is not None
    assert refusal.reason is reason
    assert "password" not in refusal.message


def test_a_lost_connection_is_unavailable_and_a_full_pool_is_overload() -> None:
    lost = OperationalError("SELECT 1", None, psycopg2.OperationalError("gone"))
    refusal = refusal_of(lost)
    assert refusal is not None
    assert refusal.reason is SharedReason.STORE_UNAVAILABLE
    assert refusal.retry_after is not None
    full = refusal_of(PoolTimeout())
    assert full is not None
    assert full.reason is SharedReason.OVERLOADED


def test_a_fault_of_the_service_is_not_dressed_up() -> None:
    assert refusal_of(failure("23505")) is None
    with pytest.raises(StoreFault):
        attempt(lambda: _raise(failure("23505")))


def test_a_lost_race_is_run_again_and_in_the_end_a_conflict() -> None:
    tries = []

    def twice_lost() -> str:
        tries.append(1)
        return _raise(failure("40001")) if len(tries) < 3 else "done"

    assert attempt(twice_lost) == "done"
    with refused(SharedReason.CONFLICT):
        attempt(lambda: _raise(failure("40P01")))


def test_a_call_without_time_is_refused_before_it_reaches_the_database(world: World) -> None:
    with refused(SharedReason.DEADLINE), world.store.within(lambda: 0.0).reading():
        pass


def test_a_statement_that_takes_too_long_is_a_deadline(world: World) -> None:
    def slow() -> None:
        with world.store.within(lambda: 0.05).reading() as tx:
            tx.execute(text("SELECT pg_sleep(5)"))

    with refused(SharedReason.DEADLINE):
        attempt(slow)


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
        attempt(start)


def test_the_migrations_make_exactly_the_tables_of_the_models(empty_database: str) -> None:
    assert migrate.check(SCHEMA, Secret(empty_database)) != []
    migrate.upgrade(SCHEMA, Secret(empty_database))
    assert migrate.check(SCHEMA, Secret(empty_database)) == []
    migrate.upgrade(SCHEMA, Secret(empty_database))
    engine = database(Secret(empty_database), pool_size=1).engine
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE provision.workspaces ADD COLUMN extra text"))
    engine.dispose()
    assert len(migrate.check(SCHEMA, Secret(empty_database))) == 1


def test_replicas_that_migrate_at_once_do_it_once(empty_database: str) -> None:
    answers = at_once([lambda: migrate.upgrade(SCHEMA, Secret(empty_database)) for _ in range(4)])
    assert answers == [None] * 4
    assert migrate.check(SCHEMA, Secret(empty_database)) == []


def test_the_version_lies_inside_the_schema(provision_database: str) -> None:
    engine = database(Secret(provision_database), pool_size=1).engine
    with engine.connect() as connection:
        outside = connection.execute(
            text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        ).scalar_one()
    engine.dispose()
    assert outside == 0


@pytest.mark.parametrize("url", ["", "not a url", "mysql://h/d", "postgresql://u:pa:ss@h:port/d"])
def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="must be a PostgreSQL URL") as caught:
        database(Secret(url), pool_size=1)
    assert "pa:ss" not in str(caught.value)


def _raise(error: Exception) -> Any:
    raise error


def test_refusals_are_handed_through() -> None:
    refusal = Refusal(Reason.ETAG_MISMATCH, "no")
    with pytest.raises(Refusal) as caught:
        attempt(lambda: _raise(refusal))
    assert caught.value is refusal
