"""`kill -9` of PostgreSQL in the middle of issuing calls: what was acknowledged survives it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults.pairs import DATABASES, make_databases, serving
from tests.faults.servers import Server, reachable_directory, started
from tests.lifecycle.lives import Lives, broken_promises
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
    urls = {name: server.url(name) for name in DATABASES}
    with serving(urls, tmp_path / "services") as pair:
        with lives.going_on(pair.replicas(patient=True)):
            for _ in range(DEATHS):
                lives.until_more_have_lived(1)
                server.kill()
                server.start()
            lives.until_more_have_lived(1)
        pair.registry.until_serving()
        pair.provision.until_serving()
        assert broken_promises(lives.ledger, pair.replicas(patient=False)) == []
