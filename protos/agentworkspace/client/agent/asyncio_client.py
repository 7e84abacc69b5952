"""The asyncio client that an agent runtime embeds: it keeps the box registered.

    agent = AgentClient.from_environment(Announcement(runtime="claude-code", url="https://…"))
    async with agent:  # registers and heartbeats from here on, whatever the registry does
        await agent.admitted()
        agent.report(active_tasks=1)
        await agent.finished()  # raises Stopped: replaced, suspended or retired

`BlockingAgentClient` is the same for threads. Needs grpcio, protobuf and googleapis-common-protos.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Self

import grpc
import grpc.aio

from agentworkspace.client.agent import messages
from agentworkspace.client.agent.box import Box, Closed, from_disk, log, note_wait
from agentworkspace.client.agent.steps import (
    Admission,
    Answer,
    CallHeartbeat,
    CallRegister,
    Recall,
    Save,
    Step,
    Stopped,
    Wait,
)
from agentworkspace.client.channel import aio_channel, call_metadata
from agentworkspace.core.refusal import Recovery
from agentworkspace.core.secret import Secret
from agentworkspace.registry.v1 import registration_service_pb2 as pb
from agentworkspace.registry.v1.registration_service_pb2_grpc import RegistrationServiceStub
from agentworkspace.rpc.errors import failure_from


class AgentClient(Box):
    """The asyncio client of one box. Use it on one event loop.

    Leaving the block ends the heartbeats and nothing else: the token lives on, so that the box
    can be restarted in place. `deregister` says good-bye for good.
    """

    _task: asyncio.Task[None] | None = None
    _channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise Closed("a client lives once; make another")
        self._woken, self._news = asyncio.Event(), asyncio.Event()
        self._channel = aio_channel(self._launch.target, tls=self._launch.tls(), retries=False)
        self._task = asyncio.create_task(self._live(self._stub()), name="agent")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            (ended,) = await asyncio.gather(self._task, return_exceptions=True)
            if isinstance(ended, Exception) and not isinstance(ended, Stopped):
                log.error("the client of the box broke: %r", ended)
        if self._channel is not None:
            await self._channel.close()

    async def run(self) -> None:
        """Enter the client and keep it running until STOP, then raise Stopped. May be cancelled."""
        async with self:
            await self.finished()

    async def admitted(self) -> Admission:
        """Wait for the first admission. Raises Stopped when the registry says STOP instead."""
        while self._life.admission is None:
            await self._next_news()
        return self._life.admission

    async def finished(self) -> None:
        """Wait for STOP, and raise Stopped."""
        while True:
            await self._next_news()

    async def rotate(self) -> None:
        """Change the token for a fresh one; returns once the fresh one is admitted."""
        await self.admitted()
        before = self.bearer()
        self._life.request_rotation()
        self._woken.set()
        while self.bearer() == before:
            await self._next_news()

    async def register_now(self) -> Admission:
        """Register again at once, instead of when a heartbeat says so; returns once admitted.

        For a call that the box made elsewhere with its token and that was refused with the
        recovery REGISTER.
        """
        before = self._life.admissions
        self._register_soon()
        while self._life.admissions == before or self._life.admission is None:
            await self._next_news()
        return self._life.admission

    async def update_card(
        self, agent_card: Mapping[str, Any] | None = None, *, url: str = ""
    ) -> None:
        """Replace card and url, now and at later registrations. RpcFailure when refused."""
        changed = self._announcement.changed(agent_card, url)
        request = messages.update_card_request(self._launch, changed)
        await self._once(self._stub().UpdateCard, request)
        self._announcement = changed

    async def deregister(self) -> None:
        """Leave for good: the token dies and nobody relaunches the box. RpcFailure if refused."""
        bearer = self._own_bearer()
        if self._task is not None:
            self._task.cancel()
        request = pb.DeregisterRequest(workspace_id=self._launch.workspace_id)
        await self._once(self._stub().Deregister, request, bearer)

    async def _live(self, stub: Any) -> None:
        steps = self._life.steps()
        answer: Answer = None
        try:
            while True:
                step = steps.send(answer)
                self._tell()
                answer = await self._perform(stub, step)
        except Stopped as stopped:
            log.warning("told to stop: %s", stopped)
            raise

    async def _perform(self, stub: Any, step: Step) -> Answer:
        match step:
            case Wait():
                note_wait(step)
                await self._pause(step.seconds)
                return None
            case CallRegister():
                request = messages.register_request(self._launch, self._announcement, step)
                return await _answered(stub.Register, request, step.bearer, messages.admission)
            case CallHeartbeat():
                beat = messages.heartbeat_request(self._launch, self._report)
                return await _answered(stub.Heartbeat, beat, step.bearer, messages.next_action)
            case Recall():
                return await asyncio.to_thread(from_disk, self._memory.load)
            case Save():
                save = partial(self._memory.save, step.remembered)
                return await asyncio.to_thread(from_disk, save)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _next_news(self) -> None:
        """Wait until something changed. Raises whatever ended the client, once it has ended."""
        task = self._task
        if task is None:
            raise Closed("enter the client first: `async with agent:`")
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({task, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
        if task.done():
            if task.cancelled():
                raise Closed("the client was closed")
            task.result()

    async def _once(self, method: Any, request: Any, bearer: Secret | None = None) -> None:
        metadata = call_metadata(bearer=bearer or self._own_bearer())
        try:
            await method(request, timeout=messages.CALL_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            failure = failure_from(error)
            if failure.recovery == Recovery.REGISTER:
                self._register_soon()
            raise failure from None

    def _register_soon(self) -> None:
        self._life.request_registration()
        if self._task is not None:
            self._woken.set()

    def _stub(self) -> Any:
        if self._channel is None:
            raise Closed("enter the client first: `async with agent:`")
        return RegistrationServiceStub(self._channel)


async def _answered(
    method: Any, request: Any, bearer: Secret, read: Callable[[Any], Answer]
) -> Answer:
    try:
        response = await method(
            request, timeout=messages.CALL_SECONDS, metadata=call_metadata(bearer=bearer)
        )
    except grpc.RpcError as error:
        return failure_from(error)
    return read(response)
