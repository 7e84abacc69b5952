"""A fault of the store decides nothing and changes nothing, wherever it strikes."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from threading import Thread
from typing import Any

import pytest

from agentworkspace.core.refusal import Recovery, Refusal, SharedReason
from agentworkspace.core.secret import Secret
from agentworkspace.service import store_faults as faults
from agentworkspace.service.database import Limits
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.tokens import TokenKind
from registry_service.storage.store import open_store
from tests.faults.lost_connections import connection_lost_at
from tests.storage.registry_world import (
    World,
    new_request_id,
    new_secret,
    reason_of,
    sha256,
    world_at,
)


@pytest.fixture(scope="module")
def world(registry_database_of_module: str) -> Iterator[World]:
    with world_at(registry_database_of_module) as world:
        yield world


@pytest.fixture(scope="module")
def surgeon(registry_database_of_module: str) -> Iterator[World]:
    """A second way to the same database, which the faults spare."""
    with world_at(registry_database_of_module) as world:
        yield world


def content(surgeon: World) -> list[Any]:
    """Everything stored."""
    tables = ("workspaces", "registrations", "tokens", "requests", "revocations", "feed")
    return [
        sorted(row[0] for row in surgeon.sql(f"SELECT t::text FROM registry.{table} t"))  # noqa: S608
        for table in (*tables, "audit_events")
    ]


def scene(world: World, name: str) -> Callable[[], object]:
    """A command about to change something."""
    workspace_id = world.workspace()
    if name == "mint":
        return partial(world.mint, workspace_id)
    if name == "begin":
        world.box(workspace_id)
        return partial(world.begin, workspace_id)
    if name == "bootstrap":
        ticket = world.ticket(workspace_id)
        return partial(world.register, workspace_id, ticket=ticket)
    if name == "revoke":
        token_id = world.mint(workspace_id).token.token_id
        return partial(world.revoke, workspace_id, token_id)
    old, new = world.box(workspace_id), new_secret(TokenKind.INSTANCE)
    world.register(workspace_id, bearer=old, token_sha256=sha256(new))
    if name == "heartbeat":
        return partial(world.heartbeat, workspace_id, new)
    return partial(world.validate, new, workspace_id)


class Done:
    """The command went through."""


def judged(call: Callable[[], object]) -> Refusal | Done:
    try:
        faults.attempt(call, tries=1)
    except Refusal as refusal:
        return refusal
    return Done()


SCENES = ("mint", "begin", "bootstrap", "revoke", "heartbeat", "validate")


@pytest.mark.parametrize("name", SCENES)
def test_a_connection_lost_before_its_commit_is_unavailable_and_changes_nothing(
    world: World, surgeon: World, name: str
) -> None:
    call = scene(world, name)
    before = content(surgeon)
    step = 0
    outcome: Refusal | Done | None = None
    while not isinstance(outcome, Done):
        with connection_lost_at(world, surgeon, step) as statements:
            outcome = judged(call)
        if isinstance(outcome, Refusal):
            told = (outcome.reason, outcome.recovery, outcome.retry_after)
            reason = SharedReason.STORE_UNAVAILABLE if step else SharedReason.OUTCOME_UNKNOWN
            assert told == (reason, Recovery.RETRY, timedelta(seconds=1))
            assert content(surgeon) == before
            step += 1
    # It went through once the fault lay behind its last statement.
    assert step == len(statements) + 1
    assert step > 3
    assert content(surgeon) != before


def test_what_broke_before_its_commit_is_run_again(world: World, surgeon: World) -> None:
    workspace_id = world.workspace()
    with connection_lost_at(world, surgeon, 3):
        faults.attempt(partial(world.mint, workspace_id))
    assert len(world.tokens(workspace_id)) == 1


def test_an_unclear_commit_is_not_run_again(world: World, surgeon: World) -> None:
    workspace_id = world.workspace()
    with connection_lost_at(world, surgeon, 0) as statements:
        reason = reason_of(lambda: faults.attempt(partial(world.mint, workspace_id)))
    assert reason is SharedReason.OUTCOME_UNKNOWN
    assert statements.count("COMMIT") == 1


def test_a_caller_who_repeats_an_unclear_request_ends_with_one_token(
    world: World, surgeon: World
) -> None:
    workspace_id, request_id = world.workspace(), new_request_id()
    mint = partial(world.mint, workspace_id, request_id=request_id)
    with connection_lost_at(world, surgeon, 0):
        reason_of(lambda: faults.attempt(mint))
    mint()
    mint()
    assert len(world.tokens(workspace_id)) == 1


def test_a_backend_ended_while_it_waits_for_a_workspace_changes_nothing(
    world: World, surgeon: World
) -> None:
    workspace_id = world.workspace()
    results: list[object] = []

    def register() -> None:
        try:
            results.append(faults.attempt(partial(world.register, workspace_id), tries=1))
        except Refusal as refusal:
            results.append(refusal.reason)

    with surgeon.store.transaction() as connection:
        connection.exec_driver_sql(
            "SELECT 1 FROM registry.workspaces WHERE workspace_id = %(id)s FOR UPDATE",
            {"id": workspace_id},
        )
        waiting = Thread(target=register)
        waiting.start()
        ended = 0
        while not ended:
            (ended,) = surgeon.sql(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )[0]
        waiting.join()
    assert results == [SharedReason.STORE_UNAVAILABLE]
    assert world.live_instances(workspace_id) == []
    assert world.register(workspace_id).line == AdmissionLine.OPEN_DOOR


def test_a_command_that_runs_out_of_time_is_a_deadline(world: World, surgeon: World) -> None:
    workspace_id = world.workspace()
    hurried = World(world.store.at_most(timedelta(milliseconds=50)))
    with surgeon.store.transaction() as connection:
        connection.exec_driver_sql(
            "SELECT 1 FROM registry.workspaces WHERE workspace_id = %(id)s FOR UPDATE",
            {"id": workspace_id},
        )
        reason = reason_of(lambda: faults.attempt(partial(hurried.mint, workspace_id)))
    assert reason is SharedReason.DEADLINE
    assert world.tokens(workspace_id) == ()


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_a_lost_race_is_run_three_times_and_then_a_conflict(world: World, code: str) -> None:
    tries: list[int] = []

    def lose() -> None:
        tries.append(1)
        world.sql(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$")

    assert reason_of(lambda: faults.attempt(lose)) is SharedReason.CONFLICT
    assert len(tries) == 3


@pytest.mark.parametrize("code", ["53300", "57P01", "25006", "08006"])
def test_a_store_that_is_away_is_unavailable(world: World, code: str) -> None:
    def fail() -> None:
        world.sql(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$")

    assert reason_of(lambda: faults.attempt(fail, tries=1)) is SharedReason.STORE_UNAVAILABLE


def test_a_store_that_cannot_be_reached_is_unavailable() -> None:
    store = open_store(Secret("postgresql://nobody@/none?host=/nonexistent"))
    world = World(store)
    workspace_id = new_request_id()
    reason = reason_of(lambda: faults.attempt(lambda: world.sql("SELECT %(id)s", id=workspace_id)))
    assert reason is SharedReason.STORE_UNAVAILABLE
    store.database.close()


def test_a_fault_of_ours_is_not_called_the_stores_and_quotes_no_value(world: World) -> None:
    statement = "SELECT does_not_exist(%(secret)s)"
    with pytest.raises(faults.StoreFault, match="does_not_exist") as caught:
        faults.attempt(lambda: world.sql(statement, secret="hush"))
    shown = "".join(traceback.format_exception(caught.value))
    assert "42883" in shown
    assert "'hush'" not in str(caught.value)
    assert "[SQL" not in shown


def test_no_password_is_in_the_text_about_a_bad_url() -> None:
    for url in ("postgresql://u:hush@host:notaport/x", "mysql://u:hush@host/x"):
        with pytest.raises(ValueError, match="must be a PostgreSQL URL") as malformed:
            open_store(Secret(url))
        context = malformed.value.__context__
        assert context is None or malformed.value.__suppress_context__
        assert "hush" not in repr(malformed.value)


def test_a_pooler_in_transaction_mode_is_given_limits_in_each_transaction(
    registry_database_of_module: str,
) -> None:
    store = open_store(
        Secret(registry_database_of_module),
        pooled=True,
        limits=Limits(statement=timedelta(seconds=7), lock=timedelta(seconds=3)),
    )
    world = World(store)
    assert world.sql("SHOW statement_timeout") == [("7s",)]
    assert world.sql("SHOW lock_timeout") == [("3s",)]
    assert world.sql("SHOW idle_in_transaction_session_timeout") == [("10s",)]
    assert world.register(world.workspace()).line == AdmissionLine.OPEN_DOOR
    store.database.close()


def test_what_only_reads_cannot_write(world: World) -> None:
    workspace_id = world.workspace()
    with world.store.reading() as connection:
        connection.exec_driver_sql("DELETE FROM registry.registrations")
    assert world.registration(workspace_id).workspace_id == workspace_id
