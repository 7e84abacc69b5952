"""The database falls silent, turns into a standby, or is replaced; nobody is told a lie meanwhile.

Each ends with every acknowledged token valid, every ended one refused, nothing half made and every
box in.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as tokens_pb
from tests.faults.pairs import make_databases, until_not_serving
from tests.faults.proxies import Proxy
from tests.faults.servers import Server, reachable_directory, started
from tests.lifecycle.launches import workspace_at
from tests.lifecycle.lives import Lives, Replicas, broken_promises
from tests.lifecycle.processes import PASSING, Pair, pair
from tests.rounds import TIMES
from tests.rpc.registry_requests import failed
from tests.rpc.registry_server import VERIFIER

pytestmark = pytest.mark.timeout(300 * TIMES)

SEED = random.SystemRandom().randrange(2**32)
ROUNDS: Final = TIMES
# A stream of revocations says every second that it is there.
BEATS_SECONDS: Final = 3.0


@dataclass(frozen=True)
class Stage:
    """Both services, the network, and the primary."""

    pair: Pair
    proxy: Proxy
    primary: Server

    def until_served(self) -> None:
        self.pair.registry.until_serving()
        self.pair.provision.until_serving()

    def until_not_served(self) -> None:
        until_not_serving(self.pair.registry)
        until_not_serving(self.pair.provision)

    def keeps(self, lives: Lives) -> bool:
        """Whether all that was acknowledged holds."""
        self.until_served()
        assert broken_promises(lives.ledger, Replicas.of(self.pair)) == []
        return True


@pytest.fixture
def directory() -> Iterator[Path]:
    with reachable_directory() as directory:
        yield directory


@pytest.fixture
def stage(directory: Path, tmp_path: Path) -> Iterator[Stage]:
    print(f"seed {SEED}")
    with (
        started(Server(directory / "primary")) as primary,
        closing(Proxy(primary.sockets)) as proxy,
    ):
        make_databases(primary)
        with pair(proxy.url("registry"), proxy.url("provision"), tmp_path / "services") as both:
            yield Stage(both, proxy, primary)


@pytest.fixture
def standby(stage: Stage, directory: Path) -> Iterator[Server]:
    with started(stage.primary.copied_to(directory / "standby")) as server:
        yield server


def test_a_silent_primary_is_said_and_served_again_when_it_speaks(stage: Stage) -> None:
    lives = Lives(SEED)
    with lives.going_on(Replicas.of(stage.pair, patient=True)):
        for _ in range(ROUNDS):
            lives.until_more_have_lived(1)
            stage.proxy.hold()
            stage.until_not_served()
            told = failed(lambda: workspace_at(stage.pair.registry).admit())
            assert told.code in PASSING
            stage.proxy.release()
            stage.until_served()
        lives.until_more_have_lived(1)
    assert stage.keeps(lives)


def test_a_service_ends_in_time_while_its_database_is_silent(stage: Stage) -> None:
    workspace = workspace_at(stage.pair.registry)
    workspace.admit()
    stage.proxy.hold()
    with ThreadPoolExecutor() as callers:
        waiting = callers.submit(failed, workspace.mint)
        for service in (stage.pair.provision, stage.pair.registry):
            service.stop()
        assert waiting.result().code in PASSING


def test_a_service_led_to_a_standby_writes_nothing_and_believes_nothing(
    stage: Stage, standby: Server
) -> None:
    lives = Lives(SEED)
    workspace = workspace_at(stage.pair.registry)
    workspace.admit()
    issued = workspace.mint()
    # It knows the token, and will not hear that it was revoked.
    stage.primary.sql("CHECKPOINT")
    until_replayed(stage.primary, standby)
    standby.sql("SELECT pg_wal_replay_pause()")
    workspace.revoke(issued.token.token_id, reason=token_pb2.REVOKE_REASON_OPERATOR)
    with beating(stage.pair) as beats, lives.going_on(Replicas.of(stage.pair, patient=True)):
        for _ in range(ROUNDS):
            lives.until_more_have_lived(1)
            stage.proxy.lead_to(standby.sockets)
            stage.until_not_served()
            for _ in range(10):
                told = failed(lambda: workspace.validate(issued.plaintext))
                assert told.code == grpc.StatusCode.UNAVAILABLE
            beats.clear()
            assert not beats.wait(BEATS_SECONDS), "it speaks as if it knew what was revoked"
            stage.proxy.lead_to(stage.primary.sockets)
            stage.until_served()
        lives.until_more_have_lived(1)
    assert not workspace.accepts(issued.plaintext)
    assert stage.keeps(lives)


def test_a_promoted_standby_takes_over_and_nothing_acknowledged_is_lost(
    stage: Stage, standby: Server
) -> None:
    lives = Lives(SEED)
    stage.primary.follow_synchronously()
    with lives.going_on(Replicas.of(stage.pair, patient=True)):
        lives.until_more_have_lived(2)
        stage.proxy.hold()
        standby.promote()
        stage.proxy.lead_to(standby.sockets)
        stage.until_served()
        lives.until_more_have_lived(2)
    assert stage.keeps(lives)


def until_replayed(primary: Server, standby: Server) -> None:
    [(written,)] = primary.sql("SELECT pg_current_wal_lsn()")
    while standby.sql(f"SELECT pg_last_wal_replay_lsn() < '{written}'") == [(True,)]:
        pass


@contextmanager
def beating(pair: Pair) -> Iterator[threading.Event]:
    """An event that each message of a stream of revocations sets; ended streams are opened anew."""
    heard, over = threading.Event(), threading.Event()
    stub: Any = pair.registry.tokens
    calls: list[Any] = []

    def listen() -> None:
        while not over.is_set():
            calls.append(
                stub.WatchRevocations(tokens_pb.WatchRevocationsRequest(), metadata=VERIFIER)
            )
            try:
                for _ in calls[-1]:
                    heard.set()
            except grpc.RpcError:
                over.wait(0.1)

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert heard.wait(60.0)
        yield heard
    finally:
        over.set()
        calls[-1].cancel()
        listener.join()
