"""Calls for many workspaces that fail as a whole, and calls that end before their answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as pb
from agentworkspace.service.coalescer import Coalescer
from tests.rpc.registry_batches import KINDS, Kind, admission, admit_all, begin_all, launch
from tests.rpc.registry_requests import failed
from tests.rpc.registry_server import LAUNCHER, Running, serving
from tests.rpc.registry_story import SECONDS, Workspace
from tests.rpc.test_registry_operation import NOWHERE, eventually

StatusCode = grpc.StatusCode
of_either = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.fixture(scope="module")
def running(
    registry_database_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with serving(registry_database_of_module, tmp_path_factory.mktemp("registry")) as running:
        yield running


def fleet_for(kind: Kind, running: Running, count: int) -> list[Workspace]:
    """Workspaces that nothing stands in the way of: unknown ones, or ones to be launched."""
    fleet = [Workspace(running) for _ in range(count)]
    if kind.queue == "launches":
        for each in fleet:
            each.admit()
    return fleet


def is_done(kind: Kind, workspace: Workspace) -> bool:
    """Whether the workspace was admitted, or launched for the first time."""
    if kind.queue == "launches":
        return bool(workspace.registration().incarnation == 1)
    request = pb.ListRegistrationsRequest(workspace_ids=[workspace.workspace_id])
    answer = workspace.running.workspaces.ListRegistrations(
        request, metadata=LAUNCHER, timeout=SECONDS
    )
    return len(answer.registrations) == 1


# A request that is malformed


@of_either
@pytest.mark.parametrize("count", [0, 101])
def test_a_call_is_for_1_to_100_workspaces(running: Running, kind: Kind, count: int) -> None:
    workspace, *_ = fleet_for(kind, running, 1)
    refused = failed(lambda: kind.ask(running, [kind.one(workspace)] * count))
    assert (refused.code, refused.reason) == (StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert refused.fields == ["requests"]
    assert refused.message.endswith("requests must be 1 to 100")
    assert not is_done(kind, workspace)


@of_either
def test_there_are_no_more_correlation_ids_than_requests(running: Running, kind: Kind) -> None:
    workspace, *_ = fleet_for(kind, running, 1)
    asked = [kind.one(workspace)]
    refused = failed(lambda: kind.ask(running, asked, correlation_ids=["one", "two"]))
    assert (refused.reason, refused.fields) == ("INVALID_REQUEST", ["correlation_ids"])
    assert not is_done(kind, workspace)


def test_every_malformed_admission_is_named_with_its_place_and_none_is_made(
    running: Running,
) -> None:
    first, *others = (Workspace(running) for _ in range(4))
    asked = [
        admission(first),
        admission(others[0], workspace_id="x", request_id="y"),
        admission(others[1], first_token=pb.FirstToken(scopes=["a", "NO"], token_sha256="z")),
        admission(others[2], tenant_id="-"),
    ]
    refused = failed(lambda: admit_all(running, *asked))
    assert (refused.code, refused.reason) == (StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert refused.fields == [
        "requests[1].workspace_id",
        "requests[1].request_id",
        "requests[2].first_token.scopes[1]",
        "requests[2].first_token.token_sha256",
        "requests[3].tenant_id",
    ]
    assert failed(first.registration).reason == "WORKSPACE_UNKNOWN"


def test_every_malformed_launch_is_named_with_its_place_and_none_begins(running: Running) -> None:
    fleet = fleet_for(KINDS["launches"], running, 3)
    asked = list(map(launch, fleet))
    asked[1].ticket_ttl.seconds = 86_401
    asked[1].ticket_sha256 = "short"
    asked[2].minimum_incarnation = -1
    refused = failed(lambda: begin_all(running, *asked))
    assert refused.fields == [
        "requests[1].ticket_ttl",
        "requests[1].ticket_sha256",
        "requests[2].minimum_incarnation",
    ]
    assert fleet[0].registration().incarnation == 0


@of_either
def test_a_hundred_malformed_requests_are_refused_in_a_message_that_arrives(
    running: Running, kind: Kind
) -> None:
    wrong = kind.one(Workspace(running, workspace_id="w" * 1000))
    refused = failed(lambda: kind.ask(running, [wrong] * 100))
    assert refused.reason == "INVALID_REQUEST"
    assert refused.fields[:2] == ["requests[0].workspace_id", "requests[1].workspace_id"]
    # What has no room is counted, under no name.
    assert refused.fields[-1] == ""


# A service that cannot


@of_either
def test_without_a_store_the_whole_call_fails(tmp_path: Path, kind: Kind) -> None:
    with serving(NOWHERE, tmp_path, wait=False) as running:
        asked = [kind.one(Workspace(running)) for _ in range(3)]
        refused = failed(lambda: kind.ask(running, asked))
        assert (refused.code, refused.reason) == (StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert refused.recovery == "RETRY"
        assert refused.retry_seconds is not None


@of_either
def test_a_call_for_more_than_may_ever_wait_is_done_where_nobody_waits(
    registry_database: str, tmp_path: Path, kind: Kind
) -> None:
    with serving(registry_database, tmp_path, environment={"REGISTRY_MAX_WAITING": "2"}) as running:
        asked = list(map(kind.one, fleet_for(kind, running, 3)))
        assert [kind.is_done(each) for each in kind.ask(running, asked)] == [True, True, True]


@of_either
def test_a_call_that_takes_several_batches_is_answered_in_order(
    registry_database: str, tmp_path: Path, kind: Kind
) -> None:
    with serving(registry_database, tmp_path, environment={"REGISTRY_MAX_BATCH": "2"}) as running:
        fleet = fleet_for(kind, running, 5)
        results = kind.ask(running, list(map(kind.one, fleet)))
        for each, result in zip(fleet, results, strict=True):
            if kind.queue == "admissions":
                assert each.accepts(result.issued.plaintext)
            else:
                assert each.register(ticket=result.bootstrap_ticket).line == "TICKET"


@of_either
def test_what_one_of_several_batches_cannot_do_has_an_empty_result(
    registry_database: str, tmp_path: Path, kind: Kind
) -> None:
    with serving(registry_database, tmp_path, environment={"REGISTRY_MAX_BATCH": "2"}) as running:
        queue = getattr(running.service.hot, kind.queue)
        work, batches = queue._run, list[int]()

        async def fails_once(items: Sequence[Any]) -> Sequence[Any]:
            batches.append(len(items))
            if len(batches) == 2:
                raise Refusal(SharedReason.STORE_UNAVAILABLE, "not now")
            answers: Sequence[Any] = await work(items)
            return answers

        queue._run = fails_once
        fleet = fleet_for(kind, running, 5)
        batches.clear()
        results = kind.ask(running, list(map(kind.one, fleet)))
        assert batches == [2, 2, 1]
        assert [kind.is_done(each) for each in results] == [True, True, False, False, True]
        assert [is_done(kind, each) for each in fleet] == [True, True, False, False, True]


# A caller that does not wait


class HeldBack:
    """The batches of one queue, each of which is begun when it is let."""

    def __init__(self, running: Running, kind: Kind) -> None:
        self.queue: Coalescer[Any, Any] = getattr(running.service.hot, kind.queue)
        self._work: Callable[..., Any] = self.queue._run
        self._entered = threading.Semaphore(0)
        self._let = threading.Event()

    async def run(self, items: Sequence[Any]) -> Any:
        self._entered.release()
        await asyncio.to_thread(self._let.wait, SECONDS)
        return await self._work(items)

    def until_entered(self) -> None:
        assert self._entered.acquire(timeout=SECONDS)

    def let(self) -> None:
        self.queue._run = self._work
        self._let.set()

    def all_are_gone(self) -> bool:
        """Whether nobody wants an answer of those that wait."""
        return all(each.answer.done() for each in tuple(self.queue._waiting))


@contextmanager
def held_back(running: Running, kind: Kind) -> Iterator[HeldBack]:
    held = HeldBack(running, kind)
    held.queue._run = held.run
    try:
        yield held
    finally:
        held.let()


def asked_for(
    kind: Kind, running: Running, fleet: Sequence[Workspace], seconds: float = SECONDS
) -> Any:
    """The call as a future."""
    request = kind.message(requests=list(map(kind.one, fleet)))
    return kind.call(running).future(request, metadata=LAUNCHER, timeout=seconds)


@of_either
@pytest.mark.parametrize("count", [2, 3])
def test_a_call_that_finds_no_room_beside_those_that_wait_is_refused_and_does_nothing(
    registry_database: str, tmp_path: Path, kind: Kind, count: int
) -> None:
    with serving(registry_database, tmp_path, environment={"REGISTRY_MAX_WAITING": "2"}) as running:
        working, waiting = fleet_for(kind, running, 1), fleet_for(kind, running, 1)
        fleet = fleet_for(kind, running, count)
        with held_back(running, kind) as held:
            first = asked_for(kind, running, working)
            held.until_entered()
            second = asked_for(kind, running, waiting)
            eventually(lambda: held.queue.waiting == 1)
            asked = list(map(kind.one, fleet))
            refused = failed(lambda: kind.ask(running, asked))
        assert (refused.code, refused.reason) == (StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert refused.retry_seconds is not None
        for call in (first, second):
            assert [kind.is_done(each) for each in call.result(SECONDS).results] == [True]
        assert not any(is_done(kind, each) for each in fleet)
        assert all(map(kind.is_done, kind.ask(running, asked)))


@of_either
@pytest.mark.parametrize("ended", ["cancelled", "late"])
def test_what_still_waits_when_its_call_ends_is_not_done(
    running: Running, kind: Kind, ended: str
) -> None:
    working, waiting = fleet_for(kind, running, 2), fleet_for(kind, running, 2)
    with held_back(running, kind) as held:
        first = asked_for(kind, running, working)
        held.until_entered()
        second = asked_for(kind, running, waiting, 1.0 if ended == "late" else SECONDS)
        eventually(lambda: held.queue.waiting == 2)
        if ended == "cancelled":
            second.cancel()
        else:
            late = failed(second.result)
            assert late.code is StatusCode.DEADLINE_EXCEEDED
        eventually(held.all_are_gone)
    assert [kind.is_done(each) for each in first.result(SECONDS).results] == [True, True]
    assert not any(is_done(kind, each) for each in waiting)
    assert all(map(kind.is_done, kind.ask(running, list(map(kind.one, waiting)))))


@of_either
def test_what_is_worked_on_when_its_call_ends_is_done_and_can_be_asked_for(
    running: Running, kind: Kind
) -> None:
    fleet = fleet_for(kind, running, 2)
    asked = list(map(kind.one, fleet))
    with held_back(running, kind) as held:
        call = kind.call(running).future(
            kind.message(requests=asked), metadata=LAUNCHER, timeout=SECONDS
        )
        held.until_entered()
        call.cancel()
    eventually(lambda: all(is_done(kind, each) for each in fleet))
    assert not any(map(kind.is_done, kind.ask(running, asked)))
    alone = getattr(running.workspaces, kind.method.removeprefix("Batch").removesuffix("s"))
    for each in asked:
        answer = alone(each, metadata=LAUNCHER, timeout=SECONDS)
        assert answer.issued.plaintext if kind.queue == "admissions" else answer.incarnation == 1


def test_batches_and_single_calls_at_once_do_everything_once(running: Running) -> None:
    """The same requests, in calls of many in either order, and each by itself."""
    for _ in range(3):
        fleet = [Workspace(running) for _ in range(10)]
        for kind in KINDS.values():
            asked = list(map(kind.one, fleet))
            batches = [
                kind.call(running).future(
                    kind.message(requests=each), metadata=LAUNCHER, timeout=SECONDS
                )
                for each in (asked, asked[::-1], asked[5:] + asked[:5], asked)
            ]
            name = kind.method.removeprefix("Batch").removesuffix("s")
            alone = [
                getattr(running.workspaces, name).future(each, metadata=LAUNCHER, timeout=SECONDS)
                for each in asked
            ]
            for call in batches:
                assert len(call.result(SECONDS).results) == 10
            answers = [call.result(SECONDS) for call in alone]
            if kind.queue == "launches":
                assert [each.incarnation for each in answers] == [1] * 10
        assert [each.registration().incarnation for each in fleet] == [1] * 10
        # Replays of an admission put a new token into the place of one that nobody used.
        assert [len(each.tokens()) for each in fleet] == [1] * 10
