"""Provision's servicers in this process, as many calls at once reach them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from agentworkspace.provision.v1 import provision_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.rpc import calls
from agentworkspace.service.batches import Batches
from agentworkspace.service.name_resolution import Names, PublicUrls
from agentworkspace.service.thread_pool import BlockingPool
from provision_service.api.core import Core, HotCalls
from provision_service.api.workspace_servicer import Workspaces
from provision_service.metrics import ProvisionMetrics
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import ACME, LAUNCHER, OAUTH, World


@dataclass
class Crowd:
    """Servicers, by default on one thread with no room beside it. `then` is called between the end
    of a batch and the callers hearing of it.
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

    def launch(
        self, workspace_id: str, request_id: str = ""
    ) -> tuple[calls.Call, asyncio.Task[Any]]:
        request = pb.ProvisionWorkspaceRequest(
            request_id=request_id,
            workspace_id=workspace_id,
            reason=provision_pb2.PROVISION_REASON_RESTART,
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
async def crowd(world: World, *, threads: int = 1, room: int = 0) -> AsyncIterator[Crowd]:
    made = Crowd(world, BlockingPool(threads=threads, max_waiting=room))
    try:
        yield made
    finally:
        made.let.set()
        await asyncio.gather(*made.hogs, return_exceptions=True)
        assert await made.pool.end(5)
