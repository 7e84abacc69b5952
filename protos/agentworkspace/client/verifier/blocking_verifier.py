"""The verifier for services without an event loop: the asyncio one, on a loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final, Self

import grpc.aio

from agentworkspace.client.verifier.asyncio_verifier import Verifier
from agentworkspace.client.verifier.principals import LIVE, Principal, Requirement
from agentworkspace.core.secret import Secret

_START_SECONDS: Final = 10.0


class BlockingVerifier:
    """`check` for any thread. Cached answers are given on the caller's own thread.

    Both arguments are called on the loop: `channel` makes the channel, `verifier` the verifier.

        with BlockingVerifier(lambda: aio_channel(address, bearer=own_credential)) as verifier:
            principal = verifier.check(Secret(presented))
    """

    def __init__(
        self,
        channel: Callable[[], grpc.aio.Channel],
        verifier: Callable[[grpc.aio.Channel], Verifier] = Verifier,
    ) -> None:
        self._make_channel = channel
        self._make_verifier = verifier
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="verifier", daemon=True)
        self._stack = AsyncExitStack()
        self._verifier: Verifier | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.run_coroutine_threadsafe(self._start(), self._loop)
        try:
            self._verifier = starting.result(_START_SECONDS)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        closing = asyncio.run_coroutine_threadsafe(self._stack.aclose(), self._loop)
        closing.result(_START_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)
        self._loop.close()

    def check(
        self,
        token: Secret,
        requirement: Requirement = LIVE,
        *,
        workspace_id: str | None = None,
        min_revision: int = 0,
        seconds: float | None = None,
    ) -> Principal:
        """The same as `Verifier.check`."""
        verifier = self._verifier
        if verifier is None:
            raise RuntimeError("enter the verifier first: `with verifier:`")
        known = verifier.known(
            token, requirement, workspace_id=workspace_id, min_revision=min_revision
        )
        if known is not None:
            return known
        asked = verifier.check(
            token,
            requirement,
            workspace_id=workspace_id,
            min_revision=min_revision,
            seconds=seconds,
        )
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()

    async def _start(self) -> Verifier:
        channel = await self._stack.enter_async_context(self._make_channel())
        return await self._stack.enter_async_context(self._make_verifier(channel))
