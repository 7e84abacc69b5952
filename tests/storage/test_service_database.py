"""Connections to the database: which server they take, when they are given up, and all together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from threading import Thread
from typing import Any

import psycopg2
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import event

from agentworkspace.core.refusal import AnyReason, Recovery, Refusal, SharedReason
from agentworkspace.core.secret import Secret
from agentworkspace.service.connecting import Connector, DatabaseAway, Gate
from agentworkspace.service.database import Limits
from agentworkspace.service.database_url import connection_parameters
from agentworkspace.service.pool_metrics import PoolMetrics
from agentworkspace.service.store_faults import attempt
from agentworkspace.service.thread_pool import BlockingPool
from agentworkspace.service.write_watch import WriteWatch
from provision_service.storage.encryption import Fingerprints, Vault
from provision_service.storage.store import Store as ProvisionStore
from provision_service.storage.store import database as provision_database_at
from registry_service.storage.store import Store, open_store
from tests.postgres import PostgresServer

SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%%'"


@contextmanager
def store_at(url: str, *, pool_size: int = 2, limits: Limits | None = None) -> Iterator[Store]:
    store = open_store(Secret(url), pool_size=pool_size, limits=limits or Limits())
    try:
        yield store
    finally:
        store.database.close()


@pytest.fixture
def store(registry_database: str) -> Iterator[Store]:
    with store_at(registry_database) as store:
        yield store


@pytest.fixture
def surgeon(registry_database: str) -> Iterator[Store]:
    """A second way to the same database."""
    with store_at(registry_database) as store:
        yield store


def asked(store: Store, statement: str) -> Any:
    with store.transaction() as connection:
        return connection.exec_driver_sql(statement).scalar()


def backend(store: Store) -> int:
    pid: int = asked(store, "SELECT pg_backend_pid()")
    return pid


def written(store: Store) -> int:
    """A statement that a read-only server refuses."""
    revision: int = asked(
        store, "UPDATE registry.feed SET revision = revision + 1 RETURNING revision"
    )
    return revision


def refused(work: Callable[[], object], *, tries: int = 1) -> Refusal:
    with pytest.raises(Refusal) as caught:
        attempt(work, tries=tries)
    return caught.value


@dataclass(frozen=True)
class Form:
    url: str
    host: str
    port: str | None


@pytest.mark.parametrize(
    "form",
    [
        Form("postgresql://u@h1:5432,h2:5433/db", "h1,h2", "5432,5433"),
        Form("postgres://u@h1,h2/db", "h1,h2", ","),
        Form("postgresql://u@/db?host=h1,h2&port=5432,5433", "h1,h2", "5432,5433"),
        Form("postgresql://u@/db?host=h1:5432&host=h2:5433", "h1,h2", "5432,5433"),
        Form("postgresql+psycopg2://u@/db?host=/var/run/postgresql", "/var/run/postgresql", None),
        Form("postgresql://u:p@ss@h1/db", "h1", None),
    ],
)
def test_the_hosts_of_a_url_may_stand_in_any_form(form: Form) -> None:
    parameters = connection_parameters(form.url)
    assert parameters["host"] == form.host
    assert parameters.get("port") == form.port
    assert (parameters["user"], parameters["dbname"]) == ("u", "db")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hush@h/db?target_session_attr=any",
        "postgresql://u:hu/sh@h/db",
        "postgresql://u:hush@h:x/db",
        "postgresql://u:%zzhush@h/db",
    ],
)
def test_a_url_that_libpq_would_misread_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="must be a PostgreSQL URL") as caught:
        connection_parameters(url)
    assert "hu" not in str(caught.value)


def test_a_connection_takes_a_writable_server_and_notices_when_it_is_gone(
    registry_database: str,
) -> None:
    wanted = {
        "target_session_attrs": "read-write",
        "connect_timeout": "3",
        "tcp_user_timeout": "5000",
        "keepalives_idle": "3",
        "keepalives_interval": "2",
        "keepalives_count": "2",
        "application_name": "test-service line",
    }
    link = Connector(Secret(registry_database), name="test-service").connect(purpose="line")
    assert wanted.items() <= link.info.dsn_parameters.items()
    link.close()


def test_what_the_url_says_itself_counts_first(registry_database: str) -> None:
    url = f"{registry_database}&target_session_attrs=any&connect_timeout=7"
    link = Connector(Secret(url), name="test-service").connect()
    said = link.info.dsn_parameters
    assert (said["target_session_attrs"], said["connect_timeout"]) == ("any", "7")
    link.close()


def test_of_several_hosts_the_one_that_answers_and_takes_writes_is_used(
    postgres: PostgresServer, registry_database: str
) -> None:
    database = connection_parameters(registry_database)["dbname"]
    url = f"postgresql://postgres@/{database}?host=/nonexistent,{postgres.sockets}"
    with store_at(url) as store:
        assert written(store) == 1


def test_a_server_that_takes_no_writes_is_not_even_read_from(
    registry_database: str, surgeon: Store
) -> None:
    name = connection_parameters(registry_database)["dbname"]
    with surgeon.transaction() as connection:
        connection.exec_driver_sql(
            f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'
        )
    with store_at(registry_database) as store:
        refusal = refused(lambda: backend(store))
        assert (refusal.reason, refusal.recovery) == (
            SharedReason.STORE_UNAVAILABLE,
            Recovery.RETRY,
        )
        with surgeon.transaction() as connection:
            connection.exec_driver_sql(f'ALTER DATABASE "{name}" RESET ALL')
        while True:
            with suppress(Refusal):
                attempt(lambda: written(store))
                break


def test_a_connection_that_became_read_only_is_given_up_and_the_command_run_again(
    store: Store,
) -> None:
    before = backend(store)
    asked(store, "SELECT set_config('default_transaction_read_only', 'on', false)")
    assert attempt(lambda: written(store)) == 1
    assert backend(store) != before
    assert store.database.losses == 1


def test_the_first_sign_of_a_loss_renews_every_connection_once(
    store: Store, surgeon: Store
) -> None:
    with store.reading() as one, store.reading() as two:
        old = {each.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() for each in (one, two)}
    told: list[None] = []
    store.database.on_lost(lambda: told.append(None))
    asked(surgeon, f"SELECT pg_terminate_backend({max(old)}, 5000)")
    asked(surgeon, f"SELECT pg_terminate_backend({min(old)}, 5000)")
    with store.reading() as one, suppress(Exception):
        one.exec_driver_sql("SELECT 1")
    with store.reading() as one, store.reading() as two:
        new = {each.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() for each in (one, two)}
    assert not old & new
    assert told == [None]


def test_who_waits_for_a_server_that_says_nothing_is_freed_when_it_is_cut_off(
    store: Store, surgeon: Store
) -> None:
    answers: list[AnyReason] = []

    def wait() -> None:
        answers.append(refused(lambda: asked(store, "SELECT pg_sleep(60)")).reason)

    waiting = Thread(target=wait)
    waiting.start()
    while not asked(surgeon, SLEEPING):
        pass
    store.database.cut_off()
    waiting.join()
    assert answers == [SharedReason.STORE_UNAVAILABLE]
    assert asked(store, "SELECT 1") == 1


def test_a_transaction_that_is_left_alone_holds_nobody_up(registry_database: str) -> None:
    limits = Limits(idle_in_transaction=timedelta(milliseconds=100))
    waits = Limits(lock=timedelta(seconds=10))
    with (
        store_at(registry_database, limits=limits) as absent,
        store_at(registry_database, limits=waits) as store,
    ):
        with absent.reading() as forgotten:
            forgotten.exec_driver_sql("SELECT FROM registry.feed FOR UPDATE")
            assert written(store) == 1
            refusal = refused(lambda: forgotten.exec_driver_sql("SELECT 1"))
        assert refusal.reason is SharedReason.STORE_UNAVAILABLE


def test_who_waits_longer_for_a_lock_than_it_may_is_told_that_time_ran_out(
    registry_database: str, store: Store
) -> None:
    with (
        store_at(registry_database, limits=Limits(lock=timedelta(milliseconds=50))) as hurried,
        store.transaction() as holder,
    ):
        holder.exec_driver_sql("SELECT FROM registry.feed FOR UPDATE")
        assert refused(lambda: written(hurried)).reason is SharedReason.DEADLINE


def provision_store(url: str) -> ProvisionStore:
    database = provision_database_at(Secret(url), pool_size=1)
    return ProvisionStore(database, Vault(lambda: None, bytes), Fingerprints(bytes(32)))  # type: ignore[arg-type,return-value]  # no secret is looked at


@pytest.mark.parametrize("service", ["registry", "provision"])
def test_a_pool_that_is_used_up_is_overload_in_both_services(
    service: str, empty_database: str
) -> None:
    made: Any = (
        open_store(Secret(empty_database), pool_size=1)
        if service == "registry"
        else provision_store(empty_database)
    )
    made.database.engine.pool._timeout = 0.01
    with made.reading():
        refusal = refused(lambda: asked(made, "SELECT 1"))
    assert refusal.reason is SharedReason.OVERLOADED
    assert refusal.retry_after == timedelta(seconds=1)
    made.database.close()


@pytest.mark.parametrize("service", ["registry", "provision"])
def test_a_commit_that_broke_may_have_been_made_in_both_services(
    service: str, registry_database: str, surgeon: Store
) -> None:
    made: Any = (
        open_store(Secret(registry_database), pool_size=1)
        if service == "registry"
        else provision_store(registry_database)
    )

    def end(connection: Any) -> None:
        pid = connection.connection.dbapi_connection.info.backend_pid
        asked(surgeon, f"SELECT pg_terminate_backend({pid}, 5000)")

    event.listen(made.database.engine, "commit", end)
    refusal = refused(lambda: written(made), tries=3)
    assert refusal.reason is SharedReason.OUTCOME_UNKNOWN
    assert "may have been made" in refusal.message
    assert "same request_id" in refusal.message
    made.database.close()


def failing() -> None:
    raise psycopg2.OperationalError


def tried(gate: Gate, work: Callable[[], None], *, at_once: bool = False) -> str:
    try:
        with gate.attempt(at_once=at_once):
            work()
    except DatabaseAway:
        return "not its turn"
    except psycopg2.OperationalError:
        return "failed"
    return "connected"


def test_after_a_failure_one_at_a_time_finds_out_and_the_others_are_told_at_once() -> None:
    now = [0.0]
    gate = Gate(monotonic=lambda: now[0])
    assert tried(gate, failing) == "failed"
    assert tried(gate, failing) == "not its turn"
    now[0] += 1.0

    def meanwhile() -> None:
        assert tried(gate, failing) == "not its turn"

    assert tried(gate, meanwhile) == "connected"
    assert tried(gate, lambda: None) == "connected"


def test_the_pauses_between_attempts_grow_to_a_second_and_no_further() -> None:
    now = [0.0]
    gate = Gate(monotonic=lambda: now[0])
    for _ in range(20):
        assert tried(gate, failing) == "failed"
        now[0] += 1.0
    assert tried(gate, lambda: None) == "connected"


def test_whoever_may_try_at_once_opens_the_gate_for_all() -> None:
    gate = Gate(monotonic=lambda: 0.0)
    assert tried(gate, failing) == "failed"
    assert tried(gate, lambda: None, at_once=True) == "connected"
    assert tried(gate, lambda: None) == "connected"


def test_a_failure_that_began_before_a_success_closes_nothing() -> None:
    gate = Gate(monotonic=lambda: 0.0)

    def overtaken() -> None:
        assert tried(gate, lambda: None) == "connected"
        failing()

    assert tried(gate, overtaken) == "failed"
    assert tried(gate, lambda: None) == "connected"


async def test_health_is_told_when_no_write_can_be_made_and_when_it_can_again(
    registry_database: str, surgeon: Store
) -> None:
    name = connection_parameters(registry_database)["dbname"]
    told: asyncio.Queue[bool] = asyncio.Queue()
    stop = asyncio.Event()
    with store_at(registry_database) as store:
        watch = WriteWatch(store.database, "registry", tell=told.put)
        running = asyncio.create_task(watch.run(stop))
        await watch.ready()
        assert await told.get() is True
        with surgeon.transaction() as connection:
            connection.exec_driver_sql(
                f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'
            )
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name"
        asked(surgeon, f"{ended} = 'registry-service health' AND datname = current_database()")
        assert await told.get() is False
        with surgeon.transaction() as connection:
            connection.exec_driver_sql(f'ALTER DATABASE "{name}" RESET ALL')
        assert await told.get() is True
        stop.set()
        await running
        assert told.empty()


async def test_nothing_is_served_before_the_service_is_ready(registry_database: str) -> None:
    told: list[bool] = []

    async def tell(serving: bool) -> None:
        told.append(serving)

    stop = asyncio.Event()
    with store_at(registry_database) as store:
        watch = WriteWatch(store.database, "registry", tell=tell)
        running = asyncio.create_task(watch.run(stop))
        async with asyncio.timeout(30):
            while not watch.takes_writes:  # noqa: ASYNC110 - a flag, not an event
                await asyncio.sleep(0.01)
        assert told == []
        await watch.ready()
        assert told == [True]
        stop.set()
        await running


def test_pools_and_connections_report_themselves(store: Store) -> None:
    collectors = CollectorRegistry()
    threads = BlockingPool(threads=3, max_waiting=1)
    PoolMetrics(
        collectors,
        database=store.database,
        takes_writes=lambda: True,
        threads={"command": threads},
    )

    def value(name: str, **labels: str) -> float | None:
        return collectors.get_sample_value(f"agentworkspace_{name}", labels)

    with store.reading():
        assert value("database_connections", state="in_use") == 1
        assert value("database_connections", state="open") == 1
        assert value("database_connections", state="most") == 2
    store.database.lost()
    assert value("database_connections", state="in_use") == 0
    assert value("database_losses_total") == 1
    assert value("database_takes_writes") == 1
    assert value("thread_pool_threads", pool="command") == 3
    assert value("thread_pool_calls", pool="command") == 0
