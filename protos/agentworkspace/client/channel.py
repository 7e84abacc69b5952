"""Client channels, asyncio and blocking, that behave alike towards our servers.

Where OpenTelemetry is installed, each call carries the W3C trace context that it is made in, and a
unary call has a span of its own if the program records spans.

Every unary request that has a request_id field is sent with one. A unary call that may be made
twice (see `agentworkspace.rpc.idempotency`) is repeated, in four attempts at most, when the server
is unavailable or has shed it; any other call is made once.

An address that begins with `dns:` (`dns:///registry-headless:7101`) means every server behind the
name: calls go to each in turn, except to those whose health check says that they do not serve.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from typing_extensions import override

from agentworkspace.client.renewed_channel import RenewedAioChannel, RenewedChannel
from agentworkspace.client.repeats import Repeats
from agentworkspace.core import tracing
from agentworkspace.core.pem_files import require_authorities, require_pair
from agentworkspace.core.secret import Secret
from agentworkspace.core.watched_files import Observe, unobserved
from agentworkspace.rpc.calls import current_correlation_id
from agentworkspace.rpc.errors import CORRELATION_KEY, RpcFailure, failure_from, failure_of
from agentworkspace.rpc.idempotency import may_be_repeated, with_request_id

Bearer = Secret | Callable[[], Secret | None] | None
C = TypeVar("C")
Metadata = tuple[tuple[str, str], ...]

_MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_MAX_METADATA_BYTES: Final = 32 * 1024
_ALL_SERVERS: Final = "dns:"
# A gRPC service config. An empty `serviceName` asks for the health of the whole server.
_EACH_IN_TURN: Final = json.dumps(
    {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """PEM files. Without `ca_file` the system's authorities count; without certificate and key no
    client certificate is sent.

    `server_name` replaces the name that the server's certificate is checked for.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are given."""
        named = (self.ca_file, self.certificate_file, self.key_file)
        return tuple(path for path in named if path is not None)

    def credentials(self) -> grpc.ChannelCredentials:
        """The credentials for gRPC, from files that were checked first.

        PemInvalid when gRPC could not use them, which it would not say itself; OSError when one
        cannot be read.
        """
        if self.certificate_file is not None and self.key_file is not None:
            require_pair(self.certificate_file, self.key_file)
        if self.ca_file is not None:
            require_authorities(self.ca_file)
        return grpc.ssl_channel_credentials(
            root_certificates=_bytes_of(self.ca_file),
            private_key=_bytes_of(self.key_file),
            certificate_chain=_bytes_of(self.certificate_file),
        )


def aio_channel(
    address: str,
    *,
    bearer: Bearer = None,
    tls: ClientTls | None = None,
    correlation_id: Callable[[], str | None] = current_correlation_id,
    retries: bool = True,
    observe: Observe = unobserved,
) -> grpc.aio.Channel:
    """An asyncio channel whose calls carry the bearer and a correlation id.

    Metadata that a call already carries is left alone. `correlation_id` returns the id of the call
    being served, so that one id crosses services; when it returns None, a fresh one is used.
    `retries` False: every call is made once. The files of `tls` are read again by the first call
    after they changed; `observe` is told of each change. PemInvalid or OSError when they cannot be
    used at first.
    """
    interceptors: list[grpc.aio.ClientInterceptor] = [
        _AioUnaryUnary(bearer, correlation_id, repeats=retries),
        _AioUnaryStream(bearer, correlation_id),
    ]
    options = _options(address, tls, retries=retries)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options, interceptors=interceptors)

    def connect(tls: ClientTls) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(
            address, tls.credentials(), options=options, interceptors=interceptors
        )

    if not tls.files:
        return connect(tls)
    return RenewedAioChannel(tls.files, partial(connect, tls), observe)


def blocking_channel(
    address: str,
    *,
    bearer: Bearer = None,
    tls: ClientTls | None = None,
    correlation_id: Callable[[], str | None] = current_correlation_id,
    retries: bool = True,
    observe: Observe = unobserved,
) -> grpc.Channel:
    """The same as `aio_channel`, for threads. A call that is begun with `.future()` is made once.

    A thread of a pool does not have the context of the call being served: a service that calls
    from a pool copies the context, or passes its own `correlation_id`.
    """
    options = _options(address, tls, retries=retries)
    adding = _Blocking(bearer, correlation_id, repeats=retries)
    if tls is None:
        return grpc.intercept_channel(grpc.insecure_channel(address, options=options), adding)

    def connect(tls: ClientTls) -> grpc.Channel:
        channel = grpc.secure_channel(address, tls.credentials(), options=options)
        return grpc.intercept_channel(channel, adding)

    if not tls.files:
        return connect(tls)
    return RenewedChannel(tls.files, partial(connect, tls), observe)


def call_metadata(*, bearer: Secret | None = None, correlation_id: str | None = None) -> Metadata:
    """The `metadata=` of one call, which counts before what the channel would add."""
    pairs: list[tuple[str, str]] = []
    if bearer is not None:
        pairs.append(("authorization", f"Bearer {bearer.reveal()}"))
    if correlation_id is not None:
        pairs.append((CORRELATION_KEY, correlation_id))
    return tuple(pairs)


def _options(address: str, tls: ClientTls | None, *, retries: bool) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Short, so that a server that was away for minutes is found again within seconds.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # This covers only calls that never left this machine, or that the server's HTTP/2 layer
        # gave back unread, which gRPC repeats by itself. A service config could make it repeat
        # others, whatever the request: none with retries is set, and none is taken from the DNS.
        ("grpc.enable_retries", int(retries)),
        ("grpc.service_config_disable_resolution", 1),
    ]
    if address.startswith(_ALL_SERVERS):
        options.append(("grpc.service_config", _EACH_IN_TURN))
        # With gRPC's default of 30 s, a new replica would get no calls for so long.
        options.append(("grpc.dns_min_time_between_resolutions_ms", 5_000))
    if tls is not None and tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


class _Adding:
    """Adds the metadata that a call lacks; keeps no secret as plain text between calls."""

    def __init__(
        self, bearer: Bearer, correlation_id: Callable[[], str | None], *, repeats: bool = False
    ) -> None:
        self._bearer = bearer
        self._correlation_id = correlation_id
        self._repeats = repeats

    def missing(self, present: Sequence[tuple[str, Any]], traceparent: str | None) -> Metadata:
        keys = {key for key, _ in present}
        bearer = None
        if "authorization" not in keys:
            bearer = self._bearer() if callable(self._bearer) else self._bearer
        correlation_id = None
        if CORRELATION_KEY not in keys:
            correlation_id = self._correlation_id() or uuid.uuid4().hex
        added = call_metadata(bearer=bearer, correlation_id=correlation_id)
        if traceparent is not None and tracing.TRACEPARENT not in keys:
            added = (*added, (tracing.TRACEPARENT, traceparent))
        return added

    def for_aio(self, details: Any, traceparent: str | None) -> Any:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        for key, value in self.missing(tuple(metadata), traceparent):
            metadata.add(key, value)
        return details._replace(metadata=metadata)

    def identified(self, request: Any) -> Any:
        return with_request_id(request, str(uuid.uuid4()))

    def repeats(self, method: str | bytes, request: Any) -> bool:
        return self._repeats and may_be_repeated(_name_of(method), request)


class _AioUnaryUnary(_Adding, grpc.aio.UnaryUnaryClientInterceptor):
    @override
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        out = tracing.CallOut(_name_of(client_call_details.method))
        details = self.for_aio(client_call_details, out.traceparent)
        request = self.identified(request)
        repeats = Repeats(details.timeout)
        may_repeat = self.repeats(details.method, request)
        code = grpc.StatusCode.CANCELLED
        try:
            while True:
                call = await continuation(details, request)
                if not (may_repeat or out.is_recorded):
                    return call
                failure = await _failure(call)
                code = failure.code
                seconds = repeats.wait_after(failure) if may_repeat else None
                if seconds is None:
                    return call
                await asyncio.sleep(seconds)
                details = details._replace(timeout=repeats.left())
        finally:
            out.end(code)


class _AioUnaryStream(_Adding, grpc.aio.UnaryStreamClientInterceptor):
    @override
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        details = self.for_aio(client_call_details, tracing.traceparent())
        return await continuation(details, request)


class _Blocking(_Adding, grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    @override
    def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        out = tracing.CallOut(_name_of(client_call_details.method))
        details = self._with_missing(client_call_details, out.traceparent)
        request = self.identified(request)
        call = continuation(details, request)
        # A call that `.future()` began must not block here. It can be told by its type: the result
        # of a blocking call is no iterator.
        if isinstance(call, Iterator) or not self.repeats(details.method, request):
            call.add_done_callback(lambda ended: out.end(ended.code()))
            return call
        repeats = Repeats(details.timeout)
        while isinstance(error := call.exception(), grpc.RpcError):
            seconds = repeats.wait_after(failure_from(error))
            if seconds is None:
                break
            time.sleep(seconds)
            again = continuation(replace(details, timeout=repeats.left()), request)
            if isinstance(again.exception(), ValueError):
                break  # the channel was closed meanwhile: return the first failure, which says more
            call = again
        out.end(call.code())
        return call

    @override
    def intercept_unary_stream(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        details = self._with_missing(client_call_details, tracing.traceparent())
        return continuation(details, request)

    def _with_missing(self, details: Any, traceparent: str | None) -> _Details:
        present = tuple(details.metadata or ())
        return _Details(
            details.method,
            details.timeout,
            (*present, *self.missing(present, traceparent)),
            details.credentials,
            getattr(details, "wait_for_ready", None),
            getattr(details, "compression", None),
        )


def _name_of(method: str | bytes) -> str:
    return method.decode() if isinstance(method, bytes) else method


async def _failure(call: Any) -> RpcFailure:
    """What an asyncio call ended with. When the wait is cancelled, the call is cancelled too."""
    try:
        code = await call.code()
    except asyncio.CancelledError:
        call.cancel()
        raise
    return failure_of(code, await call.details() or "", dict(await call.trailing_metadata() or ()))


@dataclass(frozen=True, slots=True)
class _Details(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: tuple[tuple[str, Any], ...]
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


def _bytes_of(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
