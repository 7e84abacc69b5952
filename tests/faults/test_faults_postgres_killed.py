"""`kill -9` of PostgreSQL in the middle of issuing calls: what was acknowledged survives it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.faults.pairs import make_databases
from tests.faults.servers import Server, reachable_directory, started
from tests.lifecycle.issuing import ABREAST, STORIES, through_a_death
from tests.lifecycle.lives import Lives, Replicas, broken_promises
from tests.lifecycle.processes import Pair, pair
from tests.rounds import TIMES

pytestmark = pytest.mark.timeout(120 * TIMES)

SEED = random.SystemRandom().randrange(2**32)
DEATHS: Final = 2 * TIMES


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with reachable_directory() as directory, started(Server(directory / "postgres")) as server:
        make_databases(server)
        yield server


@pytest.fixture(scope="module")
def services(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    print(f"seed {SEED}")
    directory = tmp_path_factory.mktemp("services")
    with pair(server.url("registry"), server.url("provision"), directory) as running:
        yield running


@dataclass(frozen=True)
class Database:
    """Both databases die, and everything serves again."""

    server: Server
    services: Pair

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def until_serving(self) -> None:
        self.services.registry.until_serving()
        self.services.provision.until_serving()


@pytest.mark.parametrize("call", STORIES)
def test_what_a_killed_database_was_asked_for_is_done_once_and_whole(
    server: Server, services: Pair, tmp_path: Path, call: str
) -> None:
    chance = random.Random(SEED)  # noqa: S311 -- a moment, not a secret
    for _ in range(TIMES):
        stories = [STORIES[call](services, tmp_path) for _ in range(ABREAST)]
        through_a_death(Database(server, services), stories, chance)


def test_a_killed_database_takes_nothing_acknowledged_with_it(
    server: Server, services: Pair
) -> None:
    lives = Lives(SEED)
    with lives.going_on(Replicas.of(services, patient=True)):
        for _ in range(DEATHS):
            lives.until_more_have_lived(1)
            server.kill()
            server.start()
        lives.until_more_have_lived(1)
    Database(server, services).until_serving()
    assert broken_promises(lives.ledger, Replicas.of(services)) == []
