"""Launches across replicas that crash: one at a time, nothing lost, and always a way back."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from agentworkspace.rpc.errors import failure_from
from tests.lifecycle.launches import (
    SECRETS,
    box_of,
    complete,
    create,
    delete_secret,
    held,
    launch,
    launch_request,
    launches,
    set_secret,
    workspace_at,
    workspace_of,
)
from tests.lifecycle.processes import SECONDS, Pair, ProvisionProcess, insisting, pair
from tests.rpc.registry_server import LAUNCHER

LEASE = {"PROVISION_LEASE": "2s", "PROVISION_TICKET_TTL": "2s"}


@pytest.fixture(scope="module")
def replicas(
    registry_database_of_module: str,
    provision_database_of_module: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    """Two of provision; lease and ticket run out soon, and boxes report often."""
    settings = {**LEASE, "REGISTRY_HEARTBEAT_INTERVAL_SECONDS": "1"}
    with pair(
        registry_database_of_module,
        provision_database_of_module,
        tmp_path_factory.mktemp("replicas"),
        provisions=2,
        settings=settings,
    ) as running:
        yield running


def eventually(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < give_up, "it never came true"


def next_launch(provision: ProvisionProcess, workspace_id: str) -> Any:
    """Ask, as a launcher does, until the claim that is in the way has lapsed."""
    found: list[Any] = []

    def ours() -> bool:
        found[:] = [insisting(lambda: launch(provision, workspace_id))]
        return not found[0].joined

    eventually(ours)
    return found[0]


@contextmanager
def paused(pair: Pair) -> Iterator[None]:
    pair.registry.send(signal.SIGSTOP)
    try:
        yield
    finally:
        pair.registry.send(signal.SIGCONT)


def test_of_200_launches_at_two_replicas_one_gets_the_environment(
    registry_database: str, provision_database: str, tmp_path: Path
) -> None:
    # With the lease that is the default, so that a slow machine lets none run out.
    with pair(registry_database, provision_database, tmp_path, provisions=2) as replicas:
        one_of_200_gets_the_environment(replicas)


def one_of_200_gets_the_environment(replicas: Pair) -> None:
    workspace_id = create(replicas.provision).workspace.id
    calls = [
        replicas.provisions[number % 2].workspaces.ProvisionWorkspace.future(
            launch_request(workspace_id), metadata=LAUNCHER, timeout=SECONDS
        )
        for number in range(200)
    ]
    answers = [call.result() for call in calls]
    winners = [answer for answer in answers if answer.env]
    assert len(winners) == 1
    assert sum(answer.joined for answer in answers) == 199
    assert {answer.provision.id for answer in answers} == {winners[0].provision.id}
    assert workspace_at(replicas.registry, workspace_id).registration().incarnation == 1


def test_when_the_launcher_dies_the_next_one_launches_after_the_lease(replicas: Pair) -> None:
    first, second = replicas.provisions
    workspace_id = create(first).workspace.id
    delivered = launch(first, workspace_id)
    joined = launch(second, workspace_id)
    assert joined.joined
    assert not joined.env
    set_secret(second, workspace_id, "WRITTEN_MEANWHILE", "and not lost")
    answer = next_launch(second, workspace_id)
    assert answer.provision.id != delivered.provision.id
    assert answer.provision.incarnation == 2
    assert answer.env["WRITTEN_MEANWHILE"] == "and not lost"
    assert "WRITTEN_MEANWHILE" not in delivered.env


def test_when_the_replica_dies_in_the_middle_another_launches_after_the_lease(
    replicas: Pair,
) -> None:
    first, second = replicas.provisions
    workspace_id = create(first).workspace.id
    with paused(replicas):
        # It holds the claim, and waits for the registry.
        call = first.workspaces.ProvisionWorkspace.future(
            launch_request(workspace_id), metadata=LAUNCHER, timeout=SECONDS
        )
        eventually(lambda: bool(launches(second, workspace_id)))
        first.kill()
    assert isinstance(call.exception(), grpc.RpcError)
    first.start()
    first.until_serving()
    set_secret(second, workspace_id, "WRITTEN_MEANWHILE", "and not lost")
    answer = next_launch(second, workspace_id)
    assert answer.env["WRITTEN_MEANWHILE"] == "and not lost"
    registration = workspace_at(replicas.registry, workspace_id).registration()
    assert registration.incarnation == answer.provision.incarnation


def test_a_write_during_the_launch_asks_for_another_one(replicas: Pair) -> None:
    workspace_id = create(replicas.provision).workspace.id
    answer = launch(replicas.provision, workspace_id)
    set_secret(replicas.provision, workspace_id, "WRITTEN_MEANWHILE", "and not lost")
    assert complete(replicas.provision, answer.provision.id).rerun_required
    again = next_launch(replicas.provision, workspace_id)
    assert again.env["WRITTEN_MEANWHILE"] == "and not lost"


def test_a_refused_relaunch_leaves_the_running_box_alone(replicas: Pair, tmp_path: Path) -> None:
    provision = replicas.provision
    workspace_id = create(provision).workspace.id
    answer = launch(provision, workspace_id)
    workspace = workspace_at(replicas.registry, workspace_id)
    with box_of(answer.env, tmp_path) as box:
        box.admitted(SECONDS)
        complete(provision, answer.provision.id)
        token = held(box)
        delete_secret(provision, workspace_id, next(iter(SECRETS)))
        with pytest.raises(grpc.RpcError) as refused:
            launch(provision, workspace_id)
        assert failure_from(refused.value).reason == "ERROR_REASON_MISSING_BYOK_CREDENTIAL"
        assert workspace.accepts(token)
        assert workspace.registration().incarnation == 1
        assert workspace_of(provision, workspace_id).last_error.code.endswith("BYOK_CREDENTIAL")


def test_a_relaunch_that_failed_leaves_the_running_box_alone(
    replicas: Pair, tmp_path: Path
) -> None:
    provision = replicas.provision
    workspace_id = create(provision).workspace.id
    answer = launch(provision, workspace_id)
    workspace = workspace_at(replicas.registry, workspace_id)
    with box_of(answer.env, tmp_path) as box:
        box.admitted(SECONDS)
        complete(provision, answer.provision.id)
        token = held(box)
        replicas.registry.kill()
        with pytest.raises(grpc.RpcError) as failed:
            launch(provision, workspace_id)
        assert failure_from(failed.value).code is grpc.StatusCode.UNAVAILABLE
        replicas.registry.start()
        replicas.registry.until_serving()
        assert insisting(lambda: workspace.accepts(token))
        assert workspace.registration().incarnation == 1
        assert held(box) == token


def test_the_old_box_gets_back_in_when_the_new_one_never_came(
    replicas: Pair, tmp_path: Path
) -> None:
    provision = replicas.provision
    workspace_id = create(provision).workspace.id
    answer = launch(provision, workspace_id)
    workspace = workspace_at(replicas.registry, workspace_id)
    with box_of(answer.env, tmp_path) as box:
        box.admitted(SECONDS)
        complete(provision, answer.provision.id)
        before = held(box)
        # Its environment is thrown away: nobody starts that box.
        launch(provision, workspace_id)
        assert not workspace.accepts(before)
        eventually(lambda: insisting(lambda: workspace.accepts(held(box))))
        assert held(box) != before
        assert len(workspace.live_instance_tokens()) == 1
        assert workspace.registration().incarnation == 2
