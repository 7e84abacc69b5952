"""Creates and launches of which a batch has stored something, while there is no room for the rest.

Nothing is then refused as if it had not begun, and no claim is left with nobody to go on with it.
A registry of an earlier version leaves the rest of each to its own call.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from agentworkspace.core.refusal import Refusal
from agentworkspace.provision.v1 import provision_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.rpc import calls
from agentworkspace.service.batches import Batches
from agentworkspace.service.name_resolution import Names, PublicUrls
from agentworkspace.service.thread_pool import BlockingPool
from provision_service.api.core import Core, HotCalls
from provision_service.api.workspace_servicer import Workspaces
from provision_service.metrics import ProvisionMetrics
from provision_service.storage import requests, tenants
from provision_service.storage.requests import RequestKey
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import ACME, GLOBEX, LAUNCHER, OAUTH, World, emptied, opened


@pytest.fixture
def world(provision_database: str, tmp_path: Path) -> Iterator[World]:
    with opened(emptied(provision_database), tmp_path) as world:
        yield world


@dataclass
class Crowd:
    """Servicers on one thread with no room beside it. `then` is called between what a batch has
    stored and the callers hearing of it.
    """

    world: World
    pool: BlockingPool = field(default_factory=lambda: BlockingPool(threads=1, max_waiting=0))
    let: threading.Event = field(default_factory=threading.Event)
    hogs: list[asyncio.Task[Any]] = field(default_factory=list)
    then: Callable[[], object] = lambda: None
    workspaces: Workspaces = field(init=False)

    def __post_init__(self) -> None:
        world = self.world
        told: Any = SimpleNamespace(run=self.batch, finish=self.pool.finish)
        batches = Batches(told, max_batch=64, max_waiting=100, collectors=CollectorRegistry())
        core = Core(
            store=lambda: world.store,
            pool=self.pool,
            deployment=world.deployment,
            registry=world.registry,
            prober=world.prober,
            urls=PublicUrls(Names(), allow_private=True),
            metrics=ProvisionMetrics(CollectorRegistry()),
            new_id=new_id,
            wake_outbox=lambda: None,
            hot=HotCalls(
                batches,
                store=lambda: world.store,
                pool=self.pool,
                deployment=world.deployment,
                registry=world.registry,
            ),
        )
        self.workspaces = Workspaces(core)

    async def batch(self, work: Callable[..., Any], *args: Any) -> Any:
        answer = await self.pool.run(work, *args)
        self.then()
        return answer

    def fill(self) -> None:
        """Let somebody else have the thread before anybody of the batch."""
        self.hogs.append(asyncio.create_task(self.pool.run(self.let.wait)))

    def out_of_time(self, call: calls.Call) -> None:
        self.fill()
        call.deadline = time.monotonic() - 1

    def call(
        self, method: Callable[..., Any], request: Any
    ) -> tuple[calls.Call, asyncio.Task[Any]]:
        call = calls.Call(method="/test/Method", correlation_id="c-1", caller=LAUNCHER.caller)

        async def served() -> Any:
            calls.enter(call)
            return await method(request, None)

        return call, asyncio.create_task(served())

    def launch(self, workspace_id: str) -> tuple[calls.Call, asyncio.Task[Any]]:
        request = pb.ProvisionWorkspaceRequest(
            workspace_id=workspace_id, reason=provision_pb2.PROVISION_REASON_RESTART
        )
        return self.call(self.workspaces.ProvisionWorkspace, request)

    def create(
        self, tenant: str = ACME, request_id: str = ""
    ) -> tuple[calls.Call, asyncio.Task[Any]]:
        request = pb.CreateWorkspaceRequest(
            request_id=request_id,
            tenant_id=tenant,
            workspace=workspace_pb2.Workspace(name="one", model="opus"),
            secrets=OAUTH,
        )
        return self.call(self.workspaces.CreateWorkspace, request)

    def launches_of(self, workspace_id: str) -> list[tuple[str, bool]]:
        """State of each, and whether it is over."""
        rows = self.world.sql(
            "SELECT state, complete_time IS NOT NULL FROM provision.provisions"
            " WHERE workspace_id = :id",
            id=workspace_id,
        )
        return [(row[0], row[1]) for row in rows]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0.001)


@asynccontextmanager
async def crowd(world: World) -> AsyncIterator[Crowd]:
    made = Crowd(world)
    try:
        yield made
    finally:
        made.let.set()
        await asyncio.gather(*made.hogs, return_exceptions=True)
        assert await made.pool.end(5)


@pytest.mark.parametrize("method", ["create", "launch"])
def test_what_was_stored_is_not_refused_for_lack_of_room(world: World, method: str) -> None:
    workspace = world.create()
    world.registry.older = True

    async def story() -> None:
        async with crowd(world) as crowded:
            crowded.then = crowded.fill
            _, task = crowded.create() if method == "create" else crowded.launch(workspace.id)
            await until(lambda: crowded.pool.held == 2)
            crowded.let.set()
            answer = await task
            assert answer.auth_token if method == "create" else answer.env

    asyncio.run(story())


@pytest.mark.parametrize("leaves", [False, True])
def test_a_claim_whose_caller_ran_out_of_time_is_released(world: World, leaves: bool) -> None:
    """Before the registry is asked; `leaves`: the call is cancelled, too."""
    workspace = world.create()
    world.registry.older = world.registry.down = True

    async def story() -> None:
        async with crowd(world) as crowded:
            call, task = crowded.launch(workspace.id)
            crowded.then = partial(crowded.out_of_time, call)
            await until(lambda: crowded.pool.held == 2)
            assert crowded.launches_of(workspace.id) == [("CLAIMED", False)]
            if leaves:
                task.cancel()
            crowded.let.set()
            with pytest.raises(asyncio.CancelledError if leaves else Refusal):
                await task
            await until(lambda: not crowded.pool.held)
            assert crowded.launches_of(workspace.id) == [("FAILED", False)]

    asyncio.run(story())


def test_a_claim_whose_caller_left_before_it_heard_of_it_is_released(world: World) -> None:
    left, stays = world.create(), world.create()
    world.registry.older = True

    async def story() -> None:
        async with crowd(world) as crowded:
            _, first = crowded.launch(left.id)
            _, other = crowded.launch(stays.id)
            crowded.then = first.cancel
            answer = await other
            assert answer.env["WORKSPACE_ID"] == stays.id
            with pytest.raises(asyncio.CancelledError):
                await first
            assert crowded.launches_of(left.id) == [("FAILED", False)]
            crowded.then = lambda: None
            _, again = crowded.launch(left.id)
            answer = await again
            assert not answer.joined
            assert answer.env["WORKSPACE_INCARNATION"] == "1"

    asyncio.run(story())


def test_a_call_without_time_stores_nothing(world: World) -> None:
    workspace = world.create()

    async def story() -> None:
        async with crowd(world) as crowded:
            started = (crowded.create(GLOBEX), crowded.launch(workspace.id))
            for call, _ in started:
                call.deadline = time.monotonic()
            for _, task in started:
                with pytest.raises(Refusal, match="nothing was changed"):
                    await task
            assert world.count("workspaces") == 1
            assert world.count("provisions") == 0

    asyncio.run(story())


@pytest.mark.parametrize("place", ["a secret", "the usage token"])
def test_a_key_that_is_not_here_yet_is_its_tenants_trouble_alone(world: World, place: str) -> None:
    """What another replica wrote under a newer key than this one has read."""
    world.set_global("GREETING", "hello", tenant=GLOBEX)
    theirs, ours = world.create(tenant=GLOBEX), world.create()
    if place == "a secret":
        world.sql("UPDATE provision.secrets SET key_id = 'k9' WHERE tenant_id = :id", id=GLOBEX)
    else:
        world.sql(
            "UPDATE provision.tenants SET usage_token_key_id = 'k9',"
            " usage_token_ciphertext = 'x', usage_token_nonce = 'y' WHERE tenant_id = :id",
            id=GLOBEX,
        )

    async def story() -> None:
        async with crowd(world) as crowded:
            crowded.pool = BlockingPool(threads=2, max_waiting=100)
            crowded.__post_init__()
            started: Sequence[tuple[calls.Call, asyncio.Task[Any]]] = [
                crowded.create(GLOBEX),
                crowded.create(),
                crowded.launch(theirs.id),
                crowded.launch(ours.id),
            ]
            answers = await asyncio.gather(*(task for _, task in started), return_exceptions=True)
            said = [getattr(answer, "message", "answered") for answer in answers]
            assert ["k9" in text or "key" in text for text in said] == [True, False, True, False]
            assert said[1] == said[3] == "answered"

    asyncio.run(story())


@pytest.mark.parametrize("held", ["the request", "the tenant"])
def test_one_that_waits_for_another_transaction_waits_alone(world: World, held: str) -> None:
    request_id, tenant = new_id(), "new-one"
    key = RequestKey(
        caller=LAUNCHER.caller.name,
        method="CreateWorkspace",
        scope=tenant,
        request_id=request_id,
    )

    async def story() -> None:
        async with crowd(world) as crowded:
            crowded.pool = BlockingPool(threads=2, max_waiting=100)
            crowded.__post_init__()
            with world.store.transaction() as tx:
                if held == "the request":
                    requests.claim(tx, key, params_digest=b"", result={})
                else:
                    tenants.ensure(tx, tenant)
                _, waits = crowded.create(tenant, request_id)
                _, other = crowded.create()
                answer = await other
                assert answer.workspace.tenant_id == ACME
                assert not waits.done()
                tx.rollback()
            assert (await waits).workspace.tenant_id == tenant

    asyncio.run(story())
