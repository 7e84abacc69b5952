"""`kill -9` of PostgreSQL in the middle of issuing calls: what was acknowledged survives it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults.pairs import make_databases
from tests.faults.servers import Server, reachable_directory, started
from tests.lifecycle.lives import Lives, Replicas, broken_promises
from tests.lifecycle.processes import pair
from tests.rounds import TIMES

pytestmark = pytest.mark.timeout(120 * TIMES)

SEED = random.SystemRandom().randrange(2**32)
DEATHS: Final = 2 * TIMES


@pytest.fixture
def server() -> Iterator[Server]:
    with reachable_directory() as directory, started(Server(directory / "postgres")) as server:
        make_databases(server)
        yield server


def test_a_killed_database_takes_nothing_acknowledged_with_it(
    server: Server, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    lives = Lives(SEED)
    with pair(server.url("registry"), server.url("provision"), tmp_path / "services") as both:
        with lives.going_on(Replicas.of(both, patient=True)):
            for _ in range(DEATHS):
                lives.until_more_have_lived(1)
                server.kill()
                server.start()
            lives.until_more_have_lived(1)
        both.registry.until_serving()
        both.provision.until_serving()
        assert broken_promises(lives.ledger, Replicas.of(both)) == []
