"""The database goes away under a serving registry: UNAVAILABLE, and nothing changed."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from agentworkspace.service import embedded_postgres
from tests.postgres import migration_of
from tests.rounds import TIMES
from tests.rpc.registry_batches import admission, admit_all, begin_all, launch
from tests.rpc.registry_requests import Failed, failed
from tests.rpc.registry_server import SERVING, Running, serving, until_serving
from tests.rpc.registry_story import Workspace, new_id, sha256
from tests.storage.registry_world import World, world_at

BOXES = 24 * TIMES
Call = Callable[[Workspace], object]


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory into which PostgreSQL gets, whoever runs it for us."""
    directory = Path(tempfile.mkdtemp(prefix="agentworkspace-faults-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@contextmanager
def own_server(directory: Path) -> Iterator[str]:
    """A PostgreSQL of this test alone, which it may stop; the URL of its database."""
    with embedded_postgres.running(directory / "postgres") as sockets:
        yield embedded_postgres.database_url(sockets, "postgres")


@contextmanager
def connections_ending(world: World, seed: int) -> Iterator[None]:
    """All the while, sessions of the registry are terminated, one after another."""
    over = threading.Event()
    chance = random.Random(seed)  # noqa: S311 -- a victim, not a secret

    def terminate() -> None:
        while not over.wait(0.002):
            world.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                "   AND application_name = 'registry-service' AND state <> 'idle'"
                "   AND random() < %(share)s",
                share=chance.uniform(0.1, 0.6),
            )

    thread = threading.Thread(target=terminate)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def until_answered(call: Callable[[], Any], failures: list[Failed]) -> Any:
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            failures.append(Failed(error))


def test_sessions_terminated_during_admissions_admit_each_box_once(
    registry_database: str, tmp_path: Path
) -> None:
    failures: list[Failed] = []

    def one_box(running: Running, number: int) -> None:
        workspace = Workspace(running)
        until_answered(workspace.admit, failures)
        request_id, secret = new_id(), f"box-{number}-{new_id()}"
        ticket = until_answered(partial(workspace.launch, request_id=request_id), failures)
        register = partial(
            workspace.register,
            ticket=ticket.bootstrap_ticket,
            token_sha256=sha256(secret),
            request_id=new_id(),
        )
        until_answered(register, failures)
        until_answered(partial(workspace.heartbeat, secret), failures)
        live = until_answered(workspace.live_instance_tokens, failures)
        assert [each.incarnation for each in live] == [1]
        assert until_answered(partial(workspace.accepts, secret), failures)

    with (
        serving(registry_database, tmp_path) as running,
        world_at(registry_database, pool_size=1) as world,
        connections_ending(world, seed=7),
        ThreadPoolExecutor(4) as pool,
    ):
        boxes = [pool.submit(one_box, running, number) for number in range(BOXES)]
        for each in boxes:
            each.result()
    assert {each.reason for each in failures} <= {"STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"}
    assert {each.code for each in failures} <= {grpc.StatusCode.UNAVAILABLE}
    assert all(each.retry_seconds and each.recovery == "RETRY" for each in failures)


CALLS: dict[str, Call] = {
    "AdmitWorkspace": lambda workspace: workspace.admit(first_token=True),
    "BeginIncarnation": lambda workspace: workspace.launch(),
    "BatchAdmitWorkspaces": lambda workspace: admit_all(workspace.running, admission(workspace)),
    "BatchBeginIncarnations": lambda workspace: begin_all(workspace.running, launch(workspace)),
    "MintToken": lambda workspace: workspace.mint(),
    "Register": lambda workspace: workspace.register(),
    "ListTokens": lambda workspace: workspace.tokens(),
    "RevokeWorkspaceTokens": lambda workspace: workspace.revoke_all(),
    "ValidateToken": lambda workspace: workspace.validate("of another format"),
    "RetireWorkspace": lambda workspace: workspace.retire(),
}


def test_a_database_that_restarts_is_unavailable_meanwhile_and_nothing_is_lost(
    reachable: Path, tmp_path: Path
) -> None:
    with ExitStack() as server, ExitStack() as stack:
        url = server.enter_context(own_server(reachable))
        migration_of("registry")(url)
        running = stack.enter_context(serving(url, tmp_path))
        workspace = Workspace(running)
        workspace.admit()
        box = workspace.register(ticket=workspace.launch().bootstrap_ticket).auth_token
        server.close()
        told = {name: failed(partial(call, workspace)) for name, call in CALLS.items()}
        told["Heartbeat"] = failed(partial(workspace.heartbeat, box))
        told["Register again"] = failed(partial(workspace.register, box))
        for name, each in told.items():
            seen = (name, each.code, each.reason, each.recovery)
            assert seen == (name, grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", "RETRY")
            assert each.retry_seconds, name
        server.enter_context(own_server(reachable))
        until_answered(partial(workspace.heartbeat, box), [])
        assert workspace.accepts(box)
        assert len(workspace.tokens(include_revoked=True)) == 1
        assert workspace.registration().incarnation == 1


def test_a_database_that_is_down_at_the_start_is_waited_for(
    reachable: Path, tmp_path: Path
) -> None:
    with own_server(reachable) as url:
        migration_of("registry")(url)
    with serving(url, tmp_path, wait=False) as running:
        assert running.health() != SERVING
        refused = failed(Workspace(running).admit)
        assert (refused.reason, refused.recovery) == ("STORE_UNAVAILABLE", "RETRY")
        assert refused.retry_seconds
        with own_server(reachable):
            until_serving(running)
            Workspace(running).admit()


@pytest.mark.parametrize("name", sorted(CALLS))
def test_without_its_schema_every_call_is_unavailable(
    name: str, registry_database: str, tmp_path: Path
) -> None:
    with (
        serving(registry_database, tmp_path) as running,
        world_at(registry_database, pool_size=1) as world,
    ):
        workspace = Workspace(running)
        workspace.admit()
        before = world.rows()
        world.sql("ALTER SCHEMA registry RENAME TO elsewhere")
        refused = failed(partial(CALLS[name], workspace))
        assert (refused.code, refused.reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "STORE_UNAVAILABLE",
        )
        assert refused.retry_seconds
        world.sql("ALTER SCHEMA elsewhere RENAME TO registry")
        assert world.rows() == before
