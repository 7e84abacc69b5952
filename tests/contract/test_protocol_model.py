"""The registry against a model of its protocol, written from the contract's table in words."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.contract.protocol_traces import Surgeon, Trace
from tests.rounds import TIMES
from tests.storage.registry_world import World, world_at

# The same ones in every run, and as many that nobody has seen; a failure prints its seed.
KNOWN = range(100 * TIMES)
FRESH = 100 * TIMES


@pytest.fixture(scope="module")
def world(registry_database_of_module: str) -> Iterator[World]:
    with world_at(registry_database_of_module) as world:
        yield world


@pytest.fixture(scope="module")
def surgeon(world: World, registry_database_of_module: str) -> Iterator[Surgeon]:
    with world_at(registry_database_of_module, pool_size=2) as other:
        yield Surgeon(world, other)


def test_every_answer_of_the_known_traces_is_the_tables(world: World, surgeon: Surgeon) -> None:
    compared = sum(Trace(world, surgeon, seed).run() for seed in KNOWN)
    assert compared > 10 * len(KNOWN)


def test_every_answer_of_fresh_traces_is_the_tables(world: World, surgeon: Surgeon) -> None:
    seeds = [random.SystemRandom().randrange(2**48) for _ in range(FRESH)]
    print(f"seeds: {seeds}")
    compared = sum(Trace(world, surgeon, seed).run() for seed in seeds)
    assert compared > 10 * FRESH
