"""One method of a service as the edge serves it; see `edge.py` for the order of its checks."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from typing import Any, Final, NoReturn, TypeAlias, cast

import grpc
import grpc.aio

from agentworkspace.core.secret import Secret
from agentworkspace.rpc import call_metadata, calls
from agentworkspace.rpc.calls import Call
from agentworkspace.rpc.errors import CORRELATION_KEY, RpcFailure, public_message, to_trailing
from agentworkspace.rpc.policy import Rule
from agentworkspace.server.call_log import CallLog
from agentworkspace.server.call_spans import CallSpans
from agentworkspace.server.metrics import MethodMetrics
from agentworkspace.server.open_calls import OpenStream, Surroundings
from agentworkspace.server.shares import Share
from agentworkspace.server.throttle import address_of

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # generic in the type stubs only
StatusCode = grpc.StatusCode


# The codes with which a caller whose credential is unknown is refused, and which are throttled.
_OF_STRANGERS: Final = frozenset({StatusCode.UNAUTHENTICATED, StatusCode.NOT_FOUND})

# An exception's causes may form a circle, so that following them must end somewhere.
_LONGEST_CHAIN: Final = 20


class _ConnectionGone(Exception):
    """A message of a stream could not be handed to gRPC, because its client is gone."""

    def __init__(self, inside: grpc.aio.BaseError) -> None:
        super().__init__(type(inside).__name__)
        self.inside = inside


class EdgeMethod:
    """Admits, runs and answers the calls of one method."""

    __slots__ = (
        "_around", "_behaviour", "_decode", "_encode", "_log", "_max_request_bytes", "_name",
        "_registered", "_rule", "_spans", "_tells_id",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        rule: Rule,
        handler: grpc.RpcMethodHandler[Any, Any],
        around: Surroundings,
        *,
        metrics: MethodMetrics,
        spans: CallSpans,
        max_request_bytes: int,
    ) -> None:
        self._name = name
        self._rule = rule
        self._tells_id = rule.on_record
        self._max_request_bytes = max_request_bytes
        # Its calls do not pass a `Door`, which would have kept their metadata.
        self._registered = rule.crowd
        self._around = around
        self._spans = spans
        self._log = CallLog(name, quiet=rule.quiet, logger=around.logger, metrics=metrics)
        untyped: Any = handler
        self._behaviour = (
            untyped.unary_stream if untyped.response_streaming else untyped.unary_unary
        )
        self._decode = untyped.request_deserializer
        self._encode = untyped.response_serializer

    async def unary_unary(self, raw: bytes, context: Context) -> bytes:
        started = time.monotonic()
        call, secret = self._open(context, self._around.unary_ceiling_seconds, started)
        capacity = self._around.capacity
        if not capacity.try_enter(self._rule.lane):
            await self._refuse(self._overloaded(), call, context, started)
        scope = self._around.deadlines.scope(call.deadline)
        share: Share | None = None
        try:
            request = self._admit(call, secret, raw, started)
            if call.caller is not None:
                share = self._around.shares.enter(call.caller)
            with scope:
                response = await self._behaviour(request, context)
            payload: bytes = self._encode(response)
        except BaseException as error:  # noqa: BLE001 - re-raised or answered, never dropped
            raw, request = b"", None
            await self._fail(error, call, context, started, too_late=scope.passed)
        finally:
            if share is not None:
                share.leave()
            capacity.leave()
        self._log.success(call, started)
        return payload

    async def unary_stream(self, raw: bytes, context: Context) -> None:
        started = time.monotonic()
        call, secret = self._open(context, math.inf, started)
        if not self._around.capacity.try_enter_stream():
            await self._refuse(self._overloaded(), call, context, started)
        # gRPC runs every call in a task of its own.
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        stream = self._around.streams[task] = OpenStream()
        scope = self._around.deadlines.scope(call.deadline)
        share: Share | None = None
        try:
            request = self._admit(call, secret, raw, started)
            if call.caller is not None:
                share = self._around.shares.enter_stream(call.caller)
            with scope:
                await self._pump(request, context, stream)
        except BaseException as error:  # noqa: BLE001 - re-raised or answered, never dropped
            raw, request = b"", None
            await self._fail(error, call, context, started, too_late=scope.passed)
        finally:
            if share is not None:
                share.leave_stream()
            del self._around.streams[task]
            self._around.capacity.leave_stream()
        self._log.success(call, started)

    def _open(
        self, context: Context, ceiling_seconds: float, now: float
    ) -> tuple[Call, str | None]:
        if self._registered:
            call_metadata.arrive(context.invocation_metadata() or ())
        secret, given, traceparent = call_metadata.read()
        correlation_id = calls.correlation_id_of(given, self._around.new_correlation_id)
        # When the client set no deadline, None or astronomically large, by version of grpcio.
        budget: float | None = context.time_remaining()
        if budget is None or budget > ceiling_seconds:
            budget = ceiling_seconds
        call = Call(self._name, correlation_id, now + budget)
        call.span = self._spans.begin(traceparent)
        calls.enter(call)
        # Set before anything can fail, so that the id goes back whatever happens. It is left out
        # where the server chose it and a success leaves no trace: nothing could be found by it.
        if correlation_id is given or self._tells_id:
            context.set_trailing_metadata(((CORRELATION_KEY, correlation_id),))
        return call, secret

    def _admit(self, call: Call, secret: str | None, raw: bytes, now: float) -> Any:
        failures = self._around.failures
        if self._around.closing:
            raise failures.shutting_down()
        if call.deadline <= now:
            raise failures.arrived_too_late()
        if len(raw) > self._max_request_bytes:
            raise failures.request_too_large(self._max_request_bytes)
        try:
            request = self._decode(raw)
        except Exception as error:
            raise failures.malformed_message() from error
        if not self._rule.public:
            self._authorize(call, secret)
        return request

    def _authorize(self, call: Call, secret: str | None) -> None:
        rule, failures = self._rule, self._around.failures
        if secret is None:
            if not rule.anonymous_allowed:
                raise failures.credential_missing()
            return
        call.caller = self._around.authenticate(secret)
        if call.caller is None:
            call.bearer = Secret(secret)
            if not rule.bearer_allowed:
                raise failures.credential_rejected()
        elif not rule.admits(call.caller):
            if not rule.for_tokens_only:
                raise failures.role_required(rule.roles)
            # Only workspace tokens may call this, and a caller's secret is none: the command
            # refuses it like any other text that is no token.
            call.caller = None
            call.bearer = Secret(secret)

    async def _pump(self, request: Any, context: Context, stream: OpenStream) -> None:
        async with contextlib.aclosing(self._behaviour(request, context)) as responses:
            async for response in responses:
                payload = self._encode(response)
                stream.writing = True
                await _send(context, payload)
                stream.writing = False
                if self._around.closing:
                    raise self._around.failures.shutting_down()

    async def _fail(
        self,
        error: BaseException,
        call: Call,
        context: Context,
        started: float,
        *,
        too_late: bool,
    ) -> NoReturn:
        if isinstance(error, _ConnectionGone):
            self._log.abandoned(call, started, StatusCode.CANCELLED.name, error)
            raise error.inside
        if isinstance(error, grpc.aio.AbortError):  # the servicer has answered already
            self._log.abandoned(call, started, _code_of(context), error)
            raise error
        if too_late and isinstance(error, Exception | asyncio.CancelledError):
            # The deadline cancelled it, whatever it raised on its way out.
            await self._refuse(
                self._around.failures.deadline(self._name), call, context, started, error
            )
        if isinstance(error, asyncio.CancelledError):
            await self._fail_cancelled(error, call, context, started)
        if not isinstance(error, Exception):  # the process is ending
            raise error
        failure = self._slowed(self._worded(error, call), error, call, context, started)
        await self._refuse(failure, call, context, started, error)

    async def _fail_cancelled(
        self, error: asyncio.CancelledError, call: Call, context: Context, started: float
    ) -> NoReturn:
        task = asyncio.current_task()
        if task is not None and self._around.is_being_closed(task):
            task.uncancel()
            await self._refuse(self._around.failures.shutting_down(), call, context, started)
        if task is not None and task.cancelling():
            self._log.abandoned(call, started, self._hung_up(call).code.name, error)
            raise error
        # Not this call but something that it awaited was cancelled. Raised, that would leave the
        # client without an answer, so it is a fault like any other.
        failures = self._around.failures
        failure = failures.shutting_down() if self._around.closing else failures.internal()
        await self._refuse(failure, call, context, started, error)

    async def _refuse(
        self,
        failure: RpcFailure,
        call: Call,
        context: Context,
        started: float,
        error: BaseException | None = None,
    ) -> NoReturn:
        self._log.refusal(call, started, failure, error)
        _let_go(error)
        try:
            await context.abort(
                failure.code, public_message(failure), to_trailing(failure, call.correlation_id)
            )
        except grpc.aio.AbortError as answered:
            # gRPC keeps this error with the call, and its traceback keeps the call's frames. They
            # are dropped as soon as gRPC has it, and not by some later garbage collection.
            asyncio.get_running_loop().call_soon(_let_go, answered)
            raise
        raise AssertionError("gRPC's abort always raises")

    def _slowed(
        self, failure: RpcFailure, error: Exception, call: Call, context: Context, now: float
    ) -> RpcFailure:
        """The failure, or RATE_LIMITED when a stranger comes too often.

        A stranger is a caller whose credential is unknown; whoever presented something that was
        issued here (`Refusal.recognised`) is not one.
        """
        if failure.code not in _OF_STRANGERS or call.caller is not None:
            return failure
        if getattr(error, "recognised", False):
            return failure
        if call.bearer is not None and failure.code is StatusCode.UNAUTHENTICATED:
            self._around.rejected(address_of(context.peer()), self._name)
        wait = self._around.strangers.take(context.peer(), now)
        return failure if wait is None else self._around.failures.stranger(wait)

    def _worded(self, error: Exception, call: Call) -> RpcFailure:
        """The failure that the client may see; never the exception's own text."""
        if isinstance(error, RpcFailure):
            return error
        if call.remaining() <= 0:
            return self._around.failures.deadline(self._name)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            failures = self._around.failures
            ours = self._around.is_being_closed(task)
            return failures.shutting_down() if ours else failures.cancelled()
        if isinstance(error, NotImplementedError) and _is_unwritten(error):
            return self._around.failures.not_available_yet(self._name)
        try:
            failure: object = self._around.translate(error)
        except Exception as broken:  # noqa: BLE001 - nothing may get past the edge untranslated
            self._log.broken_translation(call, broken)
            return self._around.failures.internal()
        return failure if isinstance(failure, RpcFailure) else self._around.failures.internal()

    def _hung_up(self, call: Call) -> RpcFailure:
        failures = self._around.failures
        return failures.cancelled() if call.remaining() > 0 else failures.deadline(self._name)

    def _overloaded(self) -> RpcFailure:
        return self._around.failures.overloaded(self._around.overload_retry_after)


async def _send(context: Context, payload: bytes) -> None:
    try:
        await context.write(payload)
    except grpc.aio.BaseError as inside:
        raise _ConnectionGone(inside) from inside


def _let_go(error: BaseException | None) -> None:
    """Drop the tracebacks of an exception and its causes: their frames hold the call's request."""
    for _ in range(_LONGEST_CHAIN):
        if error is None:
            return
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _is_unwritten(error: NotImplementedError) -> bool:
    """Whether a generated servicer's placeholder raised it, and not a method of ours."""
    traceback = error.__traceback__
    innermost = ""
    while traceback is not None:
        innermost = traceback.tb_frame.f_code.co_filename
        traceback = traceback.tb_next
    return innermost.endswith("_pb2_grpc.py")


def _code_of(context: Context) -> str:
    code = context.code()
    return str(getattr(code, "name", StatusCode.CANCELLED.name))
