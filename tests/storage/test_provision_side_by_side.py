"""Creates and launches of many callers at once: who shares a batch with whom, what becomes of those
who leave meanwhile, and two batches beside each other.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentworkspace.core.refusal import Refusal
from provision_service.domain.refusals import Reason
from tests.storage.provision_crowd import crowd, until
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import World, emptied, opened


@pytest.fixture
def world(provision_database: str, tmp_path: Path) -> Iterator[World]:
    with opened(emptied(provision_database), tmp_path) as world:
        yield world


class Gate:
    """Holds the registry's calls of one name until it is opened."""

    def __init__(self, world: World, name: str) -> None:
        self._name = name
        self._open = threading.Event()
        self._reached = threading.Event()
        world.registry.before = self._hold

    def _hold(self, call: str) -> None:
        if call == self._name:
            self._reached.set()
            assert self._open.wait(20)

    async def reached(self) -> None:
        await until(self._reached.is_set)

    def open(self) -> None:
        self._open.set()


def test_calls_that_wait_together_ask_the_registry_once(world: World) -> None:
    ids = [world.create().id for _ in range(5)]
    world.registry.calls.clear()

    async def story() -> None:
        async with crowd(world) as crowded:
            creates = [crowded.create()[1] for _ in range(5)]
            made = await asyncio.gather(*creates)
            assert len({answer.auth_token for answer in made}) == 5
            launches = [crowded.launch(each)[1] for each in ids]
            begun = await asyncio.gather(*launches)
            assert [answer.env["WORKSPACE_ID"] for answer in begun] == ids
            assert world.registry.calls == ["admit_many", "begin_many"]

    asyncio.run(story())


def test_a_call_in_a_hurry_asks_the_registry_by_itself(world: World) -> None:
    ids = [world.create().id for _ in range(2)]
    world.registry.calls.clear()

    async def story() -> None:
        async with crowd(world, threads=2, room=100) as crowded:
            hurried, task = crowded.launch(ids[0])
            hurried.deadline = time.monotonic() + 4
            answers = await asyncio.gather(task, crowded.launch(ids[1])[1])
            assert [answer.env["WORKSPACE_ID"] for answer in answers] == ids
            assert sorted(world.registry.calls) == ["begin_incarnation", "begin_many"]
            world.registry.calls.clear()
            hurried, task = crowded.create()
            hurried.deadline = time.monotonic() + 1.5
            answers = await asyncio.gather(task, crowded.create()[1])
            assert all(answer.auth_token for answer in answers)
            assert sorted(world.registry.calls) == ["admit", "admit_many"]

    asyncio.run(story())


def test_the_launch_of_a_caller_who_leaves_is_made_and_its_request_gets_it(world: World) -> None:
    left, stays, request_id = world.create().id, world.create().id, new_id()
    gate = Gate(world, "begin_many")

    async def story() -> None:
        async with crowd(world) as crowded:
            _, first = crowded.launch(left, request_id)
            _, other = crowded.launch(stays)
            await gate.reached()
            first.cancel()
            gate.open()
            assert (await other).env["WORKSPACE_ID"] == stays
            with pytest.raises(asyncio.CancelledError):
                await first
            assert crowded.launches_of(left) == [("ENV_DELIVERED", False)]
            joined = await crowded.launch(left)[1]
            assert (joined.joined, dict(joined.env)) == (True, {})
            again = await crowded.launch(left, request_id)[1]
            assert (again.joined, again.env["WORKSPACE_INCARNATION"]) == (False, "1")
            assert world.registry.incarnations[left] == 1

    asyncio.run(story())


def test_the_claim_of_a_caller_who_leaves_is_released_when_nothing_was_begun(
    world: World,
) -> None:
    left, stays, request_id = world.create().id, world.create().id, new_id()
    # The registry answers for this one only by itself.
    del world.registry.admitted[left]
    gate = Gate(world, "begin_many")

    async def story() -> None:
        async with crowd(world) as crowded:
            _, first = crowded.launch(left, request_id)
            _, other = crowded.launch(stays)
            await gate.reached()
            assert crowded.launches_of(left) == [("CLAIMED", False)]
            first.cancel()
            gate.open()
            assert (await other).env["WORKSPACE_ID"] == stays
            await until(lambda: crowded.launches_of(left) == [("FAILED", False)])
            again = await crowded.launch(left, request_id)[1]
            assert (again.joined, again.env["WORKSPACE_INCARNATION"]) == (False, "1")
            assert crowded.launches_of(left) == [("ENV_DELIVERED", False)]

    asyncio.run(story())


def test_a_claim_is_released_when_its_caller_leaves_in_the_moment_of_the_answer(
    world: World,
) -> None:
    """The answer is there, and the caller is cancelled before it wakes up to hear it."""
    left = world.create().id
    del world.registry.admitted[left]

    async def story() -> None:
        async with crowd(world) as crowded:
            _, first = crowded.launch(left)
            crowded.then = lambda: asyncio.get_running_loop().call_soon(first.cancel)
            with pytest.raises(asyncio.CancelledError):
                await first
            await until(lambda: crowded.launches_of(left) == [("FAILED", False)])

    asyncio.run(story())


def test_the_workspace_of_a_caller_who_leaves_is_made_and_its_request_gets_the_token(
    world: World,
) -> None:
    request_id = new_id()
    gate = Gate(world, "admit_many")

    async def story() -> None:
        async with crowd(world) as crowded:
            _, first = crowded.create(request_id=request_id)
            _, other = crowded.create()
            await gate.reached()
            first.cancel()
            gate.open()
            assert (await other).auth_token
            assert world.sql("SELECT admitted FROM provision.workspaces") == [(True,)] * 2
            again = await crowded.create(request_id=request_id)[1]
            assert again.auth_token
            assert again.workspace.id != (await other).workspace.id
            assert world.count("workspaces") == 2

    asyncio.run(story())


def test_without_the_registry_every_caller_is_told_to_come_again_and_then_served(
    world: World,
) -> None:
    asked = {new_id(): world.create().id for _ in range(4)}
    creates = [new_id() for _ in range(4)]
    world.registry.down = True

    async def story() -> None:
        async with crowd(world, threads=2, room=100) as crowded:
            refusals = await asyncio.gather(
                *(crowded.launch(each, request_id)[1] for request_id, each in asked.items()),
                return_exceptions=True,
            )
            for refusal in refusals:
                assert isinstance(refusal, Refusal)
                assert refusal.reason is Reason.REGISTRY_UNAVAILABLE
                assert refusal.retry_after is not None
            for each in asked.values():
                assert crowded.launches_of(each) == [("FAILED", False)]
            made = await asyncio.gather(
                *(crowded.create(request_id=request_id)[1] for request_id in creates)
            )
            assert {answer.auth_token_error.split(":")[0] for answer in made} == {
                "REGISTRY_UNAVAILABLE"
            }
            world.registry.down = False
            begun = await asyncio.gather(
                *(crowded.launch(each, request_id)[1] for request_id, each in asked.items())
            )
            assert [answer.env["WORKSPACE_ID"] for answer in begun] == list(asked.values())
            assert {answer.provision.incarnation for answer in begun} == {1}
            again = await asyncio.gather(
                *(crowded.create(request_id=request_id)[1] for request_id in creates)
            )
            assert [answer.workspace.id for answer in again] == [
                answer.workspace.id for answer in made
            ]
            assert all(answer.auth_token for answer in again)
            assert world.count("provisions") == 4

    asyncio.run(story())


def test_one_that_cannot_be_written_down_is_its_own_callers_trouble(world: World) -> None:
    """PostgreSQL keeps no text with a zero in it."""
    ids = [world.create().id for _ in range(3)]

    async def story() -> None:
        async with crowd(world, threads=2, room=100) as crowded:
            started = [crowded.launch(each) for each in ids]
            started[1][0].correlation_id = "a\0b"
            (_, first), (_, bad), (_, last) = started
            with pytest.raises(ValueError, match="NUL"):
                await bad
            assert (await first).env["WORKSPACE_ID"] == ids[0]
            assert (await last).env["WORKSPACE_ID"] == ids[2]
            assert world.registry.calls[-1] == "begin_many"

    asyncio.run(story())


class Meeting:
    """Lets a batch go on from the registry only when another is there, too."""

    def __init__(self, world: World, name: str) -> None:
        self._name = name
        self._both = threading.Barrier(2)
        world.registry.before = self._wait

    def _wait(self, call: str) -> None:
        if call == self._name:
            self._both.wait(20)

    async def one_is_there(self) -> None:
        await until(lambda: self._both.n_waiting == 1)


def test_two_batches_of_launches_run_beside_each_other_and_each_is_handed_out_once(
    world: World,
) -> None:
    """The second has the workspaces of the first in it, too."""
    ids = [world.create().id for _ in range(20)]
    meeting = Meeting(world, "begin_many")

    async def story() -> None:
        async with crowd(world, threads=4, room=100) as crowded:
            first = [crowded.launch(each)[1] for each in ids[:10]]
            await meeting.one_is_there()
            second = [crowded.launch(each)[1] for each in ids[::-1]]
            answers = await asyncio.gather(*first, *second)
            handed = [answer.env["WORKSPACE_ID"] for answer in answers if answer.env]
            assert sorted(handed) == sorted(ids)
            assert [answer.joined for answer in answers].count(True) == 10
            assert [world.registry.incarnations[each] for each in ids] == [1] * 20
            assert world.count("provisions") == 20
            assert world.registry.calls.count("begin_many") == 2

    asyncio.run(story())


def test_two_batches_of_creates_run_beside_each_other_and_each_is_made_once(world: World) -> None:
    """Of the same new tenants; the second has the requests of the first in it, too."""
    requests = [new_id() for _ in range(20)]
    meeting = Meeting(world, "admit_many")

    async def story() -> None:
        async with crowd(world, threads=4, room=100) as crowded:
            first = [crowded.create(f"tenant-{place % 3}", requests[place]) for place in range(10)]
            await meeting.one_is_there()
            second = [
                crowded.create(f"tenant-{place % 3}", requests[place])
                for place in reversed(range(20))
            ]
            answers = await asyncio.gather(*(task for _, task in (*first, *second)))
            assert all(answer.auth_token for answer in answers)
            made = [answer.workspace.id for answer in answers]
            assert made[:10] == made[:-11:-1]
            assert len(set(made)) == world.count("workspaces") == 20
            assert world.registry.calls.count("admit_many") == 2
            assert world.count("outbox") == 0

    asyncio.run(story())


def test_a_second_batch_begins_when_eight_calls_wait(world: World) -> None:
    ids = [world.create().id for _ in range(9)]
    gate = Gate(world, "begin_many")

    async def story() -> None:
        async with crowd(world, threads=4, room=100) as crowded:
            started = [crowded.launch(ids[0])[1]]
            await gate.reached()
            started += [crowded.launch(each)[1] for each in ids[1:8]]
            for _ in range(20):
                await asyncio.sleep(0)
            assert crowded.pool.held == 1
            started.append(crowded.launch(ids[8])[1])
            await until(lambda: crowded.pool.held == 2)
            gate.open()
            answers = await asyncio.gather(*started)
            assert [answer.env["WORKSPACE_ID"] for answer in answers] == ids

    asyncio.run(story())
