"""A service's aio server: edge, health, reflection, listener, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc.aio
import uvloop
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agentworkspace.rpc.policy import INFRASTRUCTURE, Listener, require_total
from agentworkspace.server import reflection
from agentworkspace.server.edge import MIB, Edge
from agentworkspace.server.health import Health
from agentworkspace.server.listening import ServerTls, bind
from agentworkspace.server.routing import Collected, Door, register

_HEALTH_NAME: Final = "grpc.health.v1.Health"
_CHECK: Final = f"/{_HEALTH_NAME}/Check"
_HEALTH: Final[Any] = health_pb2.DESCRIPTOR.services_by_name["Health"]
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# How long a stop waits before it tells gRPC: long enough for most calls to end, and no longer,
# because clients could go to other replicas meanwhile.
_HANDOVER_SECONDS: Final = 0.5
_LINGER_SECONDS: Final = 0.3
# Calls waiting in one of gRPC's queues: above the first number some are shed, above the second all.
_WAITING: Final = 700
_WAITING_AT_MOST: Final = 1000
# Allocations before a collection, and how often the next older generations join in.
_COLLECT_AFTER: Final = (10_000, 20, 50)
_IDLE_MS: Final = 600_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mount:
    """A servicer to serve: its descriptor, and the function that adds it to a server.

    `Mount(pb.DESCRIPTOR.services_by_name["X"], partial(add_XServicer_to_server, servicer))`
    """

    descriptor: ServiceDescriptor
    add: Callable[[Any], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How a server listens, and how it ends.

    `drain_seconds`: how long running calls get to finish after a stop.
    `lame_duck_seconds`: how long new calls are still taken after health said NOT_SERVING, so that
    load balancers stop sending them first.
    `control_listen`: with it, `listen` answers boxes alone and this one the control plane alone,
    under its own TLS, so that only the control plane is asked for client certificates.
    `max_connection_age_seconds`: after that long, give or take a tenth, a client is told to
    connect again, so that it finds other replicas; running calls get `connection_grace_seconds`.
    `accept_compression`: without it gRPC itself refuses compressed requests, with a bare
    UNIMPLEMENTED.
    """

    listen: str
    tls: ServerTls | None = None
    control_listen: str | None = None
    control_tls: ServerTls | None = None
    insecure: bool = False
    reflection: bool = True
    reuse_port: bool = False
    drain_seconds: float = 10.0
    lame_duck_seconds: float = 0.0
    max_answer_bytes: int = 16 * MIB
    max_concurrent_streams_per_connection: int = 4096
    accept_compression: bool = False
    max_connection_age_seconds: float = 3600.0
    connection_grace_seconds: float = 60.0


class RpcServer:
    """The server, or two, one for each listener. Health starts NOT_SERVING.

    PolicyIncomplete unless the policy table has exactly the methods of the mounted services.
    """

    def __init__(self, settings: ServerSettings, edge: Edge, mounts: Sequence[Mount]) -> None:
        require_total(edge.policy, (mount.descriptor for mount in mounts))
        self._settings = settings
        self._edge = edge
        self._mounts = tuple(mounts)
        self._names = ("", *(mount.descriptor.full_name for mount in mounts))
        self._health = Health(self._names)
        if settings.control_listen is None:
            self._servers = [self._make(None)]
        else:
            self._servers = [self._make(Listener.BOXES), self._make(Listener.CONTROL)]
        # The port of the control plane's own listener, once it listens.
        self.control_port: int | None = None
        self._stopped = False

    async def start(self) -> int:
        """Listen, and return the first listener's port. ListenRefused when that is not possible."""
        await self.set_health(serving=False)
        settings = self._settings
        main, *control = self._servers
        port = bind(main, settings.listen, tls=settings.tls, insecure=settings.insecure)
        if settings.control_listen is not None:
            self.control_port = bind(
                control[0],
                settings.control_listen,
                tls=settings.control_tls,
                insecure=settings.insecure,
            )
        for server in self._servers:
            await server.start()
        return port

    async def set_health(self, *, serving: bool, name: str | None = None) -> None:
        """Health of one service, or of all and of the server (`""`) when no name is given."""
        status = _SERVING if serving else _NOT_SERVING
        for each in self._names if name is None else (name,):
            await self._health.set(each, status)

    async def stop(self) -> None:
        """Stop: health says NOT_SERVING for good, streams end, running calls finish or are cut.

        The edge refuses new calls with a reason for a while before gRPC is told to stop, because
        gRPC would break off calls from clients that have not heard of it yet, without a reason.
        """
        if self._stopped:
            return
        self._stopped = True
        await self._health.enter_graceful_shutdown()
        if self._settings.lame_duck_seconds > 0:
            await asyncio.sleep(self._settings.lame_duck_seconds)
        self._edge.close()
        await self._edge.capacity.drained(min(_HANDOVER_SECONDS, self._settings.drain_seconds))
        closing = asyncio.ensure_future(self._stop_all(self._settings.drain_seconds))
        while not closing.done():
            await self._edge.capacity.drained(self._settings.drain_seconds)
            # The last answers may not be sent yet, and the last arrivals not be at the edge yet.
            await asyncio.wait({closing}, timeout=_LINGER_SECONDS)
            if self._edge.capacity.is_empty:
                break
        # What still runs does not pass the edge: health watchers, which never end by themselves.
        await self._stop_all(None)
        await closing

    async def _stop_all(self, grace_seconds: float | None) -> None:
        await asyncio.gather(*(server.stop(grace_seconds) for server in self._servers))

    def _make(self, listener: Listener | None) -> grpc.aio.Server:
        """A server with the methods that this listener answers; None: with all of them."""
        options = _options(self._settings, self._edge.max_request_bytes(listener))
        server = grpc.aio.server(options=options)
        answered = self._edge.mount(
            server, (mount.add for mount in self._mounts), listener=listener
        )
        self._add_infrastructure(server, answered)
        return server

    def _add_infrastructure(self, server: grpc.aio.Server, answered: frozenset[str]) -> None:
        """Add health and reflection, which do not pass the edge."""
        # Untyped, because it only stands in for a server.
        collected: Any = Collected()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, collected)
        # Registered, so that the server does not seem dead to health checks while a storm of any
        # calls, even of unknown methods, fills the other queues.
        register(server, {_CHECK: collected.handlers[_CHECK]})
        if self._settings.reflection:
            own = (mount.descriptor for mount in self._mounts)
            shown = reflection.handlers((*own, _HEALTH), answered | INFRASTRUCTURE.keys())
            collected.handlers.update(shown)
        server.add_generic_rpc_handlers((Door(collected.handlers),))


@contextlib.contextmanager
def stop_event() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; the signals have their old meaning afterwards."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, event.set)
    try:
        yield event
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a service's main coroutine on uvloop."""
    # The garbage collector need not scan what is imported by now, which stays; and it may run
    # seldom, because calls leave few cycles behind.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    return uvloop.run(main)


def _options(settings: ServerSettings, max_request_bytes: int) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.so_reuseport", int(settings.reuse_port)),
        # The edge refuses larger requests than its limit with a reason. Only those of more than
        # twice the limit are cut off by gRPC, unread.
        ("grpc.max_receive_message_length", 2 * max_request_bytes),
        ("grpc.max_send_message_length", settings.max_answer_bytes),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams_per_connection),
        # With gRPC's own limits of 1000 and 3000, calls would wait for most of a second.
        ("grpc.server.max_pending_requests", _WAITING),
        ("grpc.server.max_pending_requests_hard_limit", _WAITING_AT_MOST),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Our clients ping every 30 s, also while idle, which gRPC's default treats as abuse. A
        # client that pings more often than every 10 s is cut off after two strikes.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.keepalive_permit_without_calls", 1),
        # gRPC spreads the age by a tenth to either side, so that not all come back at once.
        ("grpc.max_connection_age_ms", int(settings.max_connection_age_seconds * 1000)),
        # A connection without any call for this long is ended in the same way.
        ("grpc.max_connection_idle_ms", _IDLE_MS),
        ("grpc.max_connection_age_grace_ms", int(settings.connection_grace_seconds * 1000)),
    ]
    if not settings.accept_compression:
        # A few kilobytes can unpack to megabytes. Only bit 0 is set: no compression.
        options.append(("grpc.compression_enabled_algorithms_bitset", 1))
    return options
