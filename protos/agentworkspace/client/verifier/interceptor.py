"""A server interceptor that lets calls in by their workspace token, method by method.

    interceptor = BearerInterceptor(
        verifier,
        {
            "/acme.tasks.v1.Tasks/Take": Requirement(kind=TokenKind.INSTANCE),
            "/acme.tasks.v1.Tasks/List": Requirement(scopes={"tasks:read"}),
        },
    )
    server = grpc.aio.server(interceptors=[interceptor])

Inside a method, `principal()` says who calls. A method that is not in the mapping is closed.
"""

from __future__ import annotations

import inspect
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, NoReturn

import grpc
import grpc.aio
from typing_extensions import override

from agentworkspace.client.verifier.asyncio_verifier import DOMAIN, Verifier
from agentworkspace.client.verifier.principals import (
    LIVE,
    Principal,
    Rejected,
    Rejection,
    Requirement,
)
from agentworkspace.core.refusal import Recovery
from agentworkspace.core.secret import Secret
from agentworkspace.rpc import call_metadata, calls
from agentworkspace.rpc.errors import RpcFailure, public_message, to_trailing
from agentworkspace.rpc.policy import INFRASTRUCTURE

Behaviour = Callable[[Any, Any], Any]

_principal: Final[ContextVar[Principal | None]] = ContextVar(
    "agentworkspace_principal", default=None
)
_log: Final = logging.getLogger("agentworkspace.verifier")


def principal() -> Principal:
    """Whom the call being served speaks for. LookupError outside of a checked call."""
    found = _principal.get()
    if found is None:
        raise LookupError("no call with a checked token is being served here")
    return found


class BearerInterceptor(grpc.aio.ServerInterceptor):
    """For servers whose servicers are asyncio's. Health and reflection stay open to everybody.

    `requirements`: full method name to what its callers' tokens must be; None: no token needed.
    `domain` is the ErrorInfo domain of its refusals.
    """

    def __init__(
        self,
        verifier: Verifier,
        requirements: Mapping[str, Requirement | None],
        *,
        domain: str = DOMAIN,
    ) -> None:
        self._verifier = verifier
        self._requirements = {**dict.fromkeys(INFRASTRUCTURE), **requirements}
        self._domain = domain
        self._wrapped: dict[str, tuple[Any, Any]] = {}

    @override
    async def intercept_service(
        self,
        continuation: Callable[[Any], Awaitable[Any]],
        handler_call_details: Any,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or self._requirements.get(method, LIVE) is None:
            return handler
        known = self._wrapped.get(method)
        if known is None or known[0] is not handler:
            known = self._wrapped[method] = (handler, self._wrap(method, handler))
        return known[1]

    def _wrap(self, method: str, handler: Any) -> Any:
        gate = _Gate(method, self._requirements.get(method), self._verifier, self._domain)
        shape = _SHAPES[handler.request_streaming, handler.response_streaming]
        behaviour = getattr(handler, shape)
        make = getattr(grpc, f"{shape}_rpc_method_handler")
        return make(
            gate.streaming(behaviour) if handler.response_streaming else gate.single(behaviour),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


_SHAPES: Final = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


class _Gate:
    """One method's: lets a call through to the servicer, or answers it."""

    def __init__(
        self, method: str, requirement: Requirement | None, verifier: Verifier, domain: str
    ) -> None:
        self._method = method
        self._requirement = requirement
        self._verifier = verifier
        self._domain = domain

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
                await answers  # it writes to the context by itself
            else:
                async for answer in answers:
                    yield answer

        return guarded

    async def _admit(self, request: Any, context: Any) -> None:
        call_metadata.arrive(context.invocation_metadata() or ())
        bearer, correlation_id = call_metadata.read()
        try:
            _principal.set(await self._check(request, bearer))
        except Rejected as rejected:
            await self._refuse(self._failure_of(rejected.reason), context, correlation_id)
        except RpcFailure as failure:
            await self._refuse(failure, context, correlation_id)

    async def _check(self, request: Any, bearer: str | None) -> Principal:
        if self._requirement is None:
            _log.error("%s is in no requirement of the interceptor, and closed", self._method)
            raise self._refusal(
                grpc.StatusCode.PERMISSION_DENIED, "METHOD_CLOSED", "nobody may call this method"
            )
        if bearer is None:
            raise self._refusal(
                grpc.StatusCode.UNAUTHENTICATED,
                "BEARER_MISSING",
                "this method needs `authorization: Bearer <token>` metadata",
                Recovery.REGISTER,
            )
        field = self._requirement.workspace_field
        workspace_id = None if field is None else str(_value(request, field))
        return await self._verifier.check(
            Secret(bearer), self._requirement, workspace_id=workspace_id
        )

    def _failure_of(self, reason: Rejection) -> RpcFailure:
        denied = grpc.StatusCode.PERMISSION_DENIED
        if reason is Rejection.TOKEN_KIND:
            return self._refusal(denied, "TOKEN_KIND", "the token is of the other kind")
        if reason is Rejection.TOKEN_SCOPE:
            return self._refusal(denied, "TOKEN_SCOPE", "the token lacks a scope")
        return self._refusal(
            grpc.StatusCode.UNAUTHENTICATED,
            "BEARER_REJECTED",
            "the presented token is not accepted here",
            Recovery.REGISTER,
        )

    def _refusal(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        recovery: Recovery = Recovery.FIX_REQUEST,
    ) -> RpcFailure:
        return RpcFailure(code, self._domain, f"ERROR_REASON_{reason}", message, recovery=recovery)

    async def _refuse(
        self, failure: RpcFailure, context: Any, correlation_id: str | None
    ) -> NoReturn:
        if correlation_id is None or not calls.is_correlation_id(correlation_id):
            correlation_id = uuid.uuid4().hex
        trailing = to_trailing(failure, correlation_id)
        await context.abort(failure.code, public_message(failure), trailing)
        raise AssertionError("abort raises")


def _value(request: Any, path: str) -> Any:
    """A field that the message does not have is a mistake of the mapping: AttributeError."""
    for name in path.split("."):
        request = getattr(request, name)
    return request
