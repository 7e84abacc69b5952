"""Lean statements awaited on the loop: they answer like a thread would, or not at all."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest

from agentworkspace.core.secret import Secret
from registry_service.domain.tokens import TokenKind
from registry_service.storage import checks
from registry_service.storage.lines import LineDown, Lines
from registry_service.storage.store import open_store
from tests.storage.registry_world import World, sha256, world_at

OF_LINES = (
    "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'EXECUTE known%%'"
)
CUT = f"SELECT pg_terminate_backend(pid) {OF_LINES}"
WAITING = f"SELECT pid {OF_LINES} AND wait_event_type = 'Lock'"


@pytest.fixture
def world(registry_database: str) -> Iterator[World]:
    with world_at(registry_database) as world:
        yield world


@asynccontextmanager
async def lines(
    url: str, *, count: int = 1, patience_seconds: float = 20.0
) -> AsyncIterator[Lines]:
    database = open_store(Secret(url)).database
    made = Lines(database, [checks.KNOWN], count=count, patience_seconds=patience_seconds)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@contextmanager
def held_up(world: World) -> Iterator[None]:
    """Every question about tokens waits until the block ends."""
    with world.store.transaction() as holder:
        holder.exec_driver_sql("LOCK TABLE registry.tokens IN ACCESS EXCLUSIVE MODE")
        yield


async def ask(lines: Lines, *hashes: bytes) -> checks.Checked:
    """As soon as there is a line."""
    while True:
        try:
            return checks.checked(await lines.ask(checks.KNOWN, checks.parameters(hashes)))
        except LineDown:
            await asyncio.sleep(0.01)


async def until(holds: Callable[[], object]) -> None:
    while True:
        if holds():
            return
        await asyncio.sleep(0.01)


async def until_down(lines: Lines) -> None:
    with suppress(LineDown):
        while True:
            await lines.ask(checks.KNOWN, checks.parameters([]))
            await asyncio.sleep(0.01)


async def test_a_line_knows_what_a_thread_knows(world: World, registry_database: str) -> None:
    used = world.mint(world.workspace()).plaintext
    assert used is not None
    world.validate(used)
    hashes = [sha256(used), hashlib.sha256(b"nobody's").digest()]
    with world.store.glance() as connection:
        expected = checks.known(connection, hashes)
    async with lines(registry_database) as known:
        found = await ask(known, *hashes)
    assert list(found.by_hash) == [sha256(used)]
    assert found.by_hash == expected.by_hash
    assert found.by_hash[sha256(used)].kind is TokenKind.API
    assert found.revision == expected.revision


async def test_a_question_may_be_longer_than_the_network_takes_at_once(
    registry_database: str,
) -> None:
    many = [hashlib.sha256(str(number).encode()).digest() for number in range(60_000)]
    async with lines(registry_database) as known:
        assert (await ask(known, *many)).by_hash == {}
        assert (await ask(known)).by_hash == {}


async def test_a_line_that_is_cut_is_down_and_made_again(
    world: World, registry_database: str
) -> None:
    async with lines(registry_database) as known:
        await ask(known)
        world.sql(CUT)
        await until_down(known)
        await until(lambda: not known.are_down)
        # The first question already: the new line may have the old one's descriptor.
        found = checks.checked(await known.ask(checks.KNOWN, checks.parameters([])))
    assert found.by_hash == {}


async def test_a_line_that_is_cut_in_the_middle_of_a_question_says_so_at_once(
    world: World, registry_database: str
) -> None:
    async with lines(registry_database) as known:
        await ask(known)
        with held_up(world):
            asked = asyncio.create_task(known.ask(checks.KNOWN, checks.parameters([b"1" * 32])))
            await until(lambda: world.sql(WAITING))
            world.sql(CUT)
            with pytest.raises(LineDown):
                await asked


async def test_a_question_that_is_given_up_costs_its_line_and_not_the_next_answer(
    world: World, registry_database: str
) -> None:
    used = world.mint(world.workspace()).plaintext
    assert used is not None
    world.validate(used)
    async with lines(registry_database) as known:
        await ask(known)
        with held_up(world):
            asked = asyncio.create_task(known.ask(checks.KNOWN, checks.parameters([b"1" * 32])))
            await asyncio.sleep(0)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
        assert list((await ask(known, sha256(used))).by_hash) == [sha256(used)]


async def test_a_line_without_an_answer_is_given_up(world: World, registry_database: str) -> None:
    async with lines(registry_database, patience_seconds=0.2) as known:
        await ask(known)
        with held_up(world), pytest.raises(LineDown):
            await known.ask(checks.KNOWN, checks.parameters([b"1" * 32]))
        assert (await ask(known)).by_hash == {}


async def test_whoever_finds_every_line_taken_goes_another_way(
    world: World, registry_database: str
) -> None:
    async with lines(registry_database) as known:
        await ask(known)
        with held_up(world):
            first = asyncio.create_task(known.ask(checks.KNOWN, checks.parameters([])))
            await asyncio.sleep(0)
            with pytest.raises(LineDown):
                await known.ask(checks.KNOWN, checks.parameters([]))
        assert len(await first) == 1


async def test_where_nobody_listens_every_line_is_down() -> None:
    async with lines("postgresql://127.0.0.1:1/nowhere") as known:
        with pytest.raises(LineDown):
            await known.ask(checks.KNOWN, checks.parameters([]))
