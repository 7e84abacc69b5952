"""`kill -9` of a service in the middle of each issuing call, and its restart."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.lifecycle.issuing import ABREAST, STORIES, through_a_death
from tests.lifecycle.processes import Pair, pair
from tests.rounds import TIMES

SEED = random.SystemRandom().randrange(2**32)
# Of the services that serve the call, in turn.
DEATHS: Final = 4 * TIMES


@pytest.fixture(scope="module")
def services(
    registry_database_of_module: str,
    provision_database_of_module: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    print(f"seed {SEED}")
    directory = tmp_path_factory.mktemp("killed")
    with pair(registry_database_of_module, provision_database_of_module, directory) as running:
        yield running


@pytest.mark.parametrize("call", STORIES)
def test_what_a_killed_service_was_asked_for_is_done_once_and_whole(
    services: Pair, tmp_path: Path, call: str
) -> None:
    chance = random.Random(SEED)  # noqa: S311 -- a moment, not a secret
    both = call in {"CreateWorkspace", "ProvisionWorkspace"}
    for death in range(DEATHS):
        victim = services.provision if both and death % 2 == 0 else services.registry
        stories = [STORIES[call](services, tmp_path) for _ in range(ABREAST)]
        through_a_death(victim, stories, chance)
