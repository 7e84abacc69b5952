"""Interceptors that let calls in by their workspace token, method by method.

    interceptor = BearerInterceptor(
        verifier,
        {
            "/acme.tasks.v1.Tasks/Take": Requirement(kind=TokenKind.INSTANCE),
            "/acme.tasks.v1.Tasks/List": Requirement(scopes={"tasks:read"}),
        },
    )
    server = grpc.aio.server(interceptors=[interceptor])

Inside a method, `principal()` says who calls. A method that is not in the mapping is closed. For
`grpc.server`, use `BlockingBearerInterceptor` with a `BlockingVerifier`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

import grpc
import grpc.aio
from typing_extensions import override

from agentworkspace.client.verifier.asyncio_verifier import DOMAIN, Verifier
from agentworkspace.client.verifier.blocking_verifier import BlockingVerifier
from agentworkspace.client.verifier.gate import Gate, correlation_id_of, seconds_to_check
from agentworkspace.client.verifier.principals import LIVE, Principal, Requirement
from agentworkspace.client.verifier.serving import context_of, principal, serve_as
from agentworkspace.rpc import call_metadata
from agentworkspace.rpc.errors import RpcFailure, Trailing, public_message, to_trailing
from agentworkspace.rpc.policy import INFRASTRUCTURE

__all__ = ["BearerInterceptor", "BlockingBearerInterceptor", "principal"]

Behaviour = Callable[[Any, Any], Any]


class BearerInterceptor(grpc.aio.ServerInterceptor):
    """For `grpc.aio.server`. Health and reflection stay open to everybody.

    `requirements` maps a full method name to what the tokens of its callers must be; None: no token
    needed. `domain` is the ErrorInfo domain of its refusals.
    """

    def __init__(
        self,
        verifier: Verifier,
        requirements: Mapping[str, Requirement | None],
        *,
        domain: str = DOMAIN,
    ) -> None:
        self._handlers = _Handlers(requirements, domain, lambda gate: _AioDoor(gate, verifier))

    @override
    async def intercept_service(
        self,
        continuation: Callable[[Any], Awaitable[Any]],
        handler_call_details: Any,
    ) -> Any:
        handler = await continuation(handler_call_details)
        return self._handlers.guarded(handler_call_details.method, handler)


class BlockingBearerInterceptor(grpc.ServerInterceptor):
    """For `grpc.server`, whose servicers run on threads; otherwise as `BearerInterceptor`."""

    def __init__(
        self,
        verifier: BlockingVerifier,
        requirements: Mapping[str, Requirement | None],
        *,
        domain: str = DOMAIN,
    ) -> None:
        self._handlers = _Handlers(requirements, domain, lambda gate: _BlockingDoor(gate, verifier))

    @override
    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: Any
    ) -> Any:
        handler = continuation(handler_call_details)
        return self._handlers.guarded(handler_call_details.method, handler)


class _Handlers:
    """The handler of each method with the check in front of it, wrapped once."""

    def __init__(
        self,
        requirements: Mapping[str, Requirement | None],
        domain: str,
        door: Callable[[Gate], _AioDoor | _BlockingDoor],
    ) -> None:
        self._requirements = {**dict.fromkeys(INFRASTRUCTURE), **requirements}
        self._domain = domain
        self._door = door
        self._made: dict[str, tuple[Any, Any]] = {}

    def guarded(self, method: str, handler: Any) -> Any:
        if handler is None or self._requirements.get(method, LIVE) is None:
            return handler
        made = self._made.get(method)
        if made is None or made[0] is not handler:
            made = self._made[method] = (handler, self._wrap(method, handler))
        return made[1]

    def _wrap(self, method: str, handler: Any) -> Any:
        door = self._door(Gate(method, self._requirements.get(method), self._domain))
        shape = _SHAPES[handler.request_streaming, handler.response_streaming]
        behaviour = getattr(handler, shape)
        make = getattr(grpc, f"{shape}_rpc_method_handler")
        return make(
            door.streaming(behaviour) if handler.response_streaming else door.single(behaviour),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


_SHAPES: Final = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


class _AioDoor:
    """Checks the calls of one method: lets a call through to the servicer, or refuses it."""

    def __init__(self, gate: Gate, verifier: Verifier) -> None:
        self._gate = gate
        self._verifier = verifier

    def single(self, behaviour: Behaviour) -> Behaviour:
        async def guarded(request: Any, context: Any) -> Any:
            await self._admit(request, context)
            answer = behaviour(request, context)
            return await answer if inspect.isawaitable(answer) else answer

        return guarded

    def streaming(self, behaviour: Behaviour) -> Behaviour:
        async def guarded(request: Any, context: Any) -> AsyncIterator[Any]:
            await self._admit(request, context)
            answers = behaviour(request, context)
            if inspect.isawaitable(answers):
                await answers  # a coroutine, which writes to the context by itself
            else:
                async for answer in answers:
                    yield answer

        return guarded

    async def _admit(self, request: Any, context: Any) -> None:
        bearer, correlation_id, _ = call_metadata.read_from(context.invocation_metadata() or ())
        try:
            with self._gate.refusing():
                token, requirement = self._gate.begin(bearer)
                found = await self._verifier.check(
                    token,
                    requirement,
                    workspace_id=self._gate.workspace_of(request),
                    seconds=seconds_to_check(context.time_remaining()),
                )
        except RpcFailure as failure:
            await context.abort(*_answer(failure, correlation_id))
        serve_as(found)


class _BlockingDoor:
    """The same for servicers that run on threads of the server's pool."""

    def __init__(self, gate: Gate, verifier: BlockingVerifier) -> None:
        self._gate = gate
        self._verifier = verifier

    def single(self, behaviour: Behaviour) -> Behaviour:
        def guarded(request: Any, context: Any) -> Any:
            found = self._admit(request, context)
            return context_of(found).run(behaviour, request, context)

        return guarded

    def streaming(self, behaviour: Behaviour) -> Behaviour:
        def guarded(request: Any, context: Any) -> Iterator[Any]:
            own = context_of(self._admit(request, context))
            answers = iter(own.run(behaviour, request, context))
            while True:
                try:
                    answer = own.run(next, answers)
                except StopIteration:
                    return
                yield answer

        return guarded

    def _admit(self, request: Any, context: Any) -> Principal:
        bearer, correlation_id, _ = call_metadata.read_from(context.invocation_metadata() or ())
        try:
            with self._gate.refusing():
                token, requirement = self._gate.begin(bearer)
                return self._verifier.check(
                    token,
                    requirement,
                    workspace_id=self._gate.workspace_of(request),
                    seconds=seconds_to_check(context.time_remaining()),
                )
        except RpcFailure as failure:
            code, message, trailing = _answer(failure, correlation_id)
        context.set_trailing_metadata(trailing)
        context.abort(code, message)
        raise AssertionError("abort raises")


def _answer(
    failure: RpcFailure, correlation_id: str | None
) -> tuple[grpc.StatusCode, str, Trailing]:
    trailing = to_trailing(failure, correlation_id_of(correlation_id))
    return failure.code, public_message(failure), trailing
