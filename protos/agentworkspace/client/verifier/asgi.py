"""ASGI middleware that lets requests in by their workspace token, path by path.

    app = FastAPI()
    app.add_middleware(
        BearerMiddleware,
        channel=lambda: aio_channel(registry, bearer=own_credential),
        requirements={"/tasks": Requirement(scopes={"tasks:read"}), "/healthz": None},
    )

Inside a request, `principal()` says who calls; so does `scope["agentworkspace.principal"]`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AsyncExitStack
from typing import Any, Final

import grpc.aio

from agentworkspace.client.verifier.asyncio_verifier import DOMAIN, Verifier
from agentworkspace.client.verifier.gate import Gate
from agentworkspace.client.verifier.http_answers import Answer, Paths, answer_to, presented
from agentworkspace.client.verifier.principals import Principal, Requirement
from agentworkspace.client.verifier.serving import principal, served_as
from agentworkspace.rpc.errors import RpcFailure

__all__ = ["BearerMiddleware", "principal"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PRINCIPAL: Final = "agentworkspace.principal"
# Codes with which a WebSocket is closed: "policy violation" and "try again later".
_CLOSE_REFUSED: Final = 1008
_CLOSE_UNAVAILABLE: Final = 1013


class BearerMiddleware:
    """Admits requests by their token.

    `requirements` maps a path prefix to what the tokens of its callers must be; None: no token
    needed. `channel` and `verifier` are called on the application's own loop, at its start (or at
    the first request, where the server announces no start). `domain` is that of its refusals.
    """

    def __init__(
        self,
        app: App,
        *,
        channel: Callable[[], grpc.aio.Channel],
        requirements: Mapping[str, Requirement | None],
        verifier: Callable[[grpc.aio.Channel], Verifier] = Verifier,
        domain: str = DOMAIN,
    ) -> None:
        self._app = app
        self._make_channel = channel
        self._make_verifier = verifier
        self._paths = Paths(requirements, domain)
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._verifier: Verifier | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        gate = self._paths.gate(scope["path"])
        if gate is None:
            await self._app(scope, receive, send)
            return
        bearer, correlation_id = presented(
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in scope["headers"]
        )
        try:
            found = await self._check(gate, bearer)
        except RpcFailure as failure:
            await _refuse(answer_to(failure, gate, correlation_id), scope, receive, send)
            return
        scope[PRINCIPAL] = found
        with served_as(found):
            await self._app(scope, receive, send)

    async def _check(self, gate: Gate, bearer: str | None) -> Principal:
        token, requirement = gate.begin(bearer)
        verifier = self._verifier or await self._open()
        with gate.refusing():
            return await verifier.check(token, requirement)

    async def _open(self) -> Verifier:
        async with self._opening:
            if self._verifier is None:
                channel = await self._stack.enter_async_context(self._make_channel())
                verifier = self._make_verifier(channel)
                self._verifier = await self._stack.enter_async_context(verifier)
            return self._verifier

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def received() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._open()
            return message

        try:
            await self._app(scope, received, send)
        finally:
            self._verifier = None
            await self._stack.aclose()


async def _refuse(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()  # the handshake; refused before it is accepted
        unavailable = answer.status >= 500
        code = _CLOSE_UNAVAILABLE if unavailable else _CLOSE_REFUSED
        await send({"type": "websocket.close", "code": code, "reason": answer.status.phrase})
        return
    headers = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in answer.headers]
    await send({"type": "http.response.start", "status": int(answer.status), "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
