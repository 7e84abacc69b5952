"""The table of box_scenarios.json: whatever happens to a box of ours, it ends where the table says.

The TypeScript client plays the same table in protos/typescript/test/box-scenarios.ts.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.duration_pb2 import Duration

from agentworkspace.client.agent import AgentClient, Launch, ProcessMemory, Stopped
from agentworkspace.core.secret import Secret
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as pb
from tests.lifecycle.launches import workspace_at
from tests.lifecycle.processes import RegistryProcess, registries

TABLE: Final = json.loads(Path(__file__).with_name("box_scenarios.json").read_text())["scenarios"]
PATIENCE: Final = 60.0
PAUSE_SECONDS: Final = 10.0


@pytest.fixture(scope="module")
def registry(
    registry_database_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegistryProcess]:
    directory = tmp_path_factory.mktemp("scenarios")
    with registries(
        registry_database_of_module, directory, REGISTRY_HEARTBEAT_INTERVAL_SECONDS="1"
    ) as (running,):
        yield running


class Box:
    """A client, and how it ended."""

    def __init__(self, launch: Launch) -> None:
        self.agent = AgentClient(launch, memory=ProcessMemory())
        self.ended = ""

    async def watch(self) -> None:
        try:
            await self.agent.finished()
        except Stopped as stopped:
            self.ended = stopped.cause.name.lower()


class Play:
    """One row of the table, with a workspace of its own."""

    def __init__(self, registry: RegistryProcess, stack: AsyncExitStack) -> None:
        self.registry = registry
        self.workspace = workspace_at(registry)
        self.boxes: list[Box] = []
        self.launch: Launch | None = None
        self._stack = stack

    async def run(self, scenario: dict[str, Any]) -> None:
        await asyncio.to_thread(self.workspace.admit, ticket_required=True)
        await self.begin()
        await self.box()
        await self.boxes[0].agent.admitted()
        held = self.boxes[0].agent.bearer()
        for step in scenario["when"]:
            word, _, argument = step.partition(" ")
            take: Callable[..., Awaitable[None]] = getattr(self, word.replace("-", "_"))
            await take(*([argument] if argument else []))
        await self._ends_as(self.boxes[0], scenario["first"])
        if "newest" in scenario:
            await self._ends_as(self.boxes[-1], scenario["newest"])
        if "token" in scenario:
            same = self.boxes[0].agent.bearer() == held
            assert ("same" if same else "other") == scenario["token"]
        live = await asyncio.to_thread(self.workspace.live_instance_tokens)
        assert len(live) == scenario["live"]

    # The steps of the table, by their names

    async def begin(self, **more: Any) -> None:
        begun = await asyncio.to_thread(self.workspace.launch, **more)
        self.launch = Launch(
            workspace_id=self.workspace.workspace_id,
            address=self.registry.address,
            ticket=Secret(begun.bootstrap_ticket),
            incarnation=begun.incarnation,
        )

    async def begin_briefly(self) -> None:
        await asyncio.to_thread(self.workspace.launch, ticket_ttl=Duration(seconds=2))

    async def resume(self) -> None:
        await self.begin(lift_suspension=True)

    async def box(self) -> None:
        assert self.launch is not None
        box = Box(self.launch)
        await self._stack.enter_async_context(box.agent)
        watching = asyncio.create_task(box.watch())
        self._stack.callback(watching.cancel)
        self.boxes.append(box)

    async def kill(self) -> None:
        await asyncio.to_thread(self.registry.kill)

    async def start(self) -> None:
        await asyncio.to_thread(self.registry.start)
        await asyncio.to_thread(self.registry.until_serving)

    async def pause(self) -> None:
        self.registry.send(signal.SIGSTOP)
        await asyncio.sleep(PAUSE_SECONDS)
        self.registry.send(signal.SIGCONT)

    async def revoke_token(self, reason: str) -> None:
        live = await asyncio.to_thread(self.workspace.live_instance_tokens)
        why = token_pb2.RevokeReason.Value(f"REVOKE_REASON_{reason}")
        await asyncio.to_thread(self.workspace.revoke, live[0].token_id, reason=why)

    async def revoke_all(self, reason: str) -> None:
        why = token_pb2.RevokeReason.Value(f"REVOKE_REASON_{reason}")
        await asyncio.to_thread(self.workspace.revoke_all, reason=why)

    async def retire(self) -> None:
        await asyncio.to_thread(self.workspace.retire)

    async def rotate(self) -> None:
        await self.boxes[0].agent.rotate()

    async def register_now(self) -> None:
        await self.boxes[0].agent.register_now()

    async def restart(self) -> None:
        gone = self.boxes.pop(0)
        await gone.agent.__aexit__(None, None, None)
        await self.box()

    async def until_stopped(self) -> None:
        await until(lambda: self.boxes[0].ended != "")

    # How it ends

    async def _ends_as(self, box: Box, end: str) -> None:
        if end == "in":
            before = await asyncio.to_thread(self._heard)
            await until(lambda: self._heard() > before)
            await until(lambda: self._holds_the_only_token(box))
        elif end == "waiting":
            before = await asyncio.to_thread(self._refusals)
            await until(lambda: self._refusals() > before)
            assert box.ended == ""
        else:
            await until(lambda: box.ended != "")
            assert box.ended == end

    def _heard(self) -> int:
        """When it was last heard of; 0 while it is not online."""
        registration = self.workspace.registration()
        if registration.state != pb.REGISTRATION_STATE_ONLINE:
            return 0
        return int(registration.last_heartbeat_time.ToNanoseconds())

    def _refusals(self) -> int:
        return int(self.workspace.registration().rejected_registers.count)

    def _holds_the_only_token(self, box: Box) -> bool:
        live = [each.token_id for each in self.workspace.live_instance_tokens()]
        held = box.agent.bearer()
        if held is None:
            return False  # one that was just started again
        return live == [self.workspace.validate(held.reveal()).principal.token_id]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 -- asks the registry each time
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("scenario", TABLE, ids=[each["name"] for each in TABLE])
async def test_a_box_ends_as_the_table_says(
    registry: RegistryProcess, scenario: dict[str, Any]
) -> None:
    async with AsyncExitStack() as stack:
        await Play(registry, stack).run(scenario)
