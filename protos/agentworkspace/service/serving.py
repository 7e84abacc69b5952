"""What the composition roots of both services share: one serving process, from its settings."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, start_http_server

from agentworkspace.core.watched_files import Observe, unobserved
from agentworkspace.rpc.policy import Policy
from agentworkspace.server.credentials import CredentialsFile
from agentworkspace.server.edge import Edge, EdgeSettings, Translate
from agentworkspace.server.listening import ServerTls, require_protection
from agentworkspace.server.metrics import EdgeMetrics
from agentworkspace.server.server import Mount, RpcServer, ServerSettings, stop_event
from agentworkspace.server.shares import ShareLimits
from agentworkspace.service.audit.rejected import RejectedCredentials
from agentworkspace.service.database import Database
from agentworkspace.service.ending import closing_seconds, end_service, no_longer_than
from agentworkspace.service.migrate import Schema
from agentworkspace.service.pool_metrics import PoolMetrics
from agentworkspace.service.settings import ServiceSettings
from agentworkspace.service.thread_pool import BlockingPool
from agentworkspace.service.write_watch import WriteWatch


def tls_of(settings: ServiceSettings) -> ServerTls | None:
    """How the listener is encrypted; None when it speaks plain text."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ServerTls(
        certificate_file=settings.tls_certificate,
        key_file=settings.tls_key,
        client_ca_file=settings.tls_client_ca,
    )


def control_tls_of(settings: ServiceSettings) -> ServerTls | None:
    """How the control plane's own listener is encrypted; None when it speaks plain text.

    Its certificate is its own, or else that of the other listener; its client CA is always its own.
    """
    certificate, key = settings.control_tls_certificate, settings.control_tls_key
    if certificate is None or key is None:
        certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        return None
    return ServerTls(
        certificate_file=certificate,
        key_file=key,
        client_ca_file=settings.control_tls_client_ca,
    )


def require_protected(settings: ServiceSettings) -> None:
    """Raise ListenRefused or OSError when the settings of a listener are insecure or unusable."""
    listeners = [(settings.listen, tls_of(settings))]
    if settings.control_listen is not None:
        listeners.append((settings.control_listen, control_tls_of(settings)))
    for listen, tls in listeners:
        require_protection(listen, tls=tls, insecure=settings.insecure)
        if tls is not None:
            tls.require_usable()


def edge_settings(settings: ServiceSettings, domain: str, *, max_in_flight: int) -> EdgeSettings:
    """The limits of a service's edge; `domain` is that of its ErrorInfo."""
    return EdgeSettings(
        domain=domain,
        unary_ceiling_seconds=settings.deadline_ceiling.total_seconds(),
        max_request_bytes=settings.max_request_bytes,
        max_in_flight=max_in_flight,
        max_streams=settings.max_streams,
        shares=ShareLimits(
            calls_per_caller=settings.calls_per_caller,
            calls_per_tenant=settings.calls_per_tenant,
            streams_per_caller=settings.streams_per_caller,
            streams_per_tenant=settings.streams_per_tenant,
        ),
        strangers_burst=settings.unknown_burst,
        strangers_per_second=settings.unknown_per_second,
        strangers_total_burst=settings.unknown_total_burst,
        strangers_total_per_second=settings.unknown_total_per_second,
    )


def server_settings(settings: ServiceSettings, *, reuse_port: bool) -> ServerSettings:
    """How the gRPC server of a service listens, and ends."""
    grace = settings.stop_grace.total_seconds()
    return ServerSettings(
        listen=settings.listen,
        tls=tls_of(settings),
        control_listen=settings.control_listen,
        control_tls=control_tls_of(settings),
        insecure=settings.insecure,
        reflection=settings.reflection,
        reuse_port=reuse_port,
        drain_seconds=grace - closing_seconds(grace),
        accept_compression=settings.accept_compression,
        max_connection_age_seconds=settings.max_connection_age.total_seconds(),
        connection_grace_seconds=settings.connection_grace.total_seconds(),
    )


def serve_metrics(settings: ServiceSettings, process: int) -> None:
    """Serve metrics, if that is set, on the configured port plus `process`, the process's index."""
    if settings.metrics_listen is not None:
        host, _, port = settings.metrics_listen.rpartition(":")
        start_http_server(int(port) + process, host.strip("[]"))


class Process:
    """One process of a service: it listens, does its background work, and ends within its grace.

    It is made on the event loop that serves it, and used once. `domain` is that of its ErrorInfo.
    `pools` are the thread pools by name. `rejected` counts calls with unknown credentials. `reread`
    is told of every change of the credentials file.
    """

    def __init__(
        self,
        schema: Schema,
        settings: ServiceSettings,
        *,
        policy: Policy,
        domain: str,
        translate: Translate,
        mounts: Sequence[Mount],
        database: Database,
        pools: Mapping[str, BlockingPool],
        rejected: RejectedCredentials,
        collectors: CollectorRegistry,
        max_in_flight: int,
        reuse_port: bool,
        reread: Observe = unobserved,
    ) -> None:
        if settings.credentials_file is None:
            raise ValueError("no credentials file: config.require_for_serving was not asked")
        # Gets an exception when the service must end because of it.
        self.cannot_serve: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._log = structlog.get_logger(schema.name)
        self._grace = settings.stop_grace.total_seconds()
        self._database = database
        self._pools = pools
        self._stop = asyncio.Event()
        self._stopping = False
        # The former end by themselves once `_stop` is set; the latter are cancelled after them.
        self._until_stopped: list[asyncio.Task[None]] = []
        self._cancelled: list[asyncio.Task[None]] = []
        edge = Edge(
            policy=policy,
            authenticate=CredentialsFile(settings.credentials_file, observe=reread).identify,
            translate=translate,
            settings=edge_settings(settings, domain, max_in_flight=max_in_flight),
            metrics=EdgeMetrics(collectors),
            rejected=rejected.count,
        )
        self._server = RpcServer(server_settings(settings, reuse_port=reuse_port), edge, mounts)
        self._writes = WriteWatch(
            database, schema.name, tell=lambda serving: self._server.set_health(serving=serving)
        )
        PoolMetrics(
            collectors,
            database=database,
            takes_writes=lambda: self._writes.takes_writes,
            threads=pools,
        )

    @property
    def control_port(self) -> int | None:
        """The port of the control plane's own listener; None without one."""
        return self._server.control_port

    async def start(self) -> int:
        """Listen, and return the port. Health says SERVING while the database takes writes."""
        port = await self._server.start()
        self._run("write-watch", self._writes.run(self._stop))
        self._begin()
        self._log.info("listening", port=port, control_port=self.control_port)
        return port

    async def stop(self) -> None:
        """Finish running calls, write what is held in memory, and close. May be called twice."""
        if self._stopping:
            return
        self._stopping = True
        self._log.info("stopping")
        await end_service(
            server=self._server,
            stop=self._stop,
            until_stopped=self._until_stopped,
            cancelled=self._cancelled,
            pools=self._pools.values(),
            database=self._database,
            grace=self._grace,
        )
        self._log.info("stopped")

    def _begin(self) -> None:
        """Start the service's background work by `_run`; for subclasses."""

    def _run(self, name: str, work: Coroutine[Any, Any, None], *, cancel: bool = False) -> None:
        """Run work that ends when `_stop` is set, or, with `cancel`, that must be cancelled."""
        tasks = self._cancelled if cancel else self._until_stopped
        tasks.append(asyncio.create_task(work, name=name))


async def serve_until_told(
    make: Callable[[], Process], settings: ServiceSettings, *, process: int
) -> None:
    """Serve until SIGTERM or SIGINT, or raise the exception for which the service cannot serve.

    `process` is the index of this process among those that share the port.
    """
    with stop_event() as stop:
        service = make()
        serve_metrics(settings, process)
        await service.start()
        stopping = asyncio.create_task(stop.wait())
        try:
            ends: set[asyncio.Future[Any]] = {stopping, service.cannot_serve}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if service.cannot_serve.done():
                service.cannot_serve.result()
        finally:
            stopping.cancel()
            with no_longer_than(settings.stop_grace.total_seconds()):
                await service.stop()


def new_id() -> str:
    """A new UUID; only composition roots ask for one."""
    return str(uuid.uuid4())


def now() -> datetime:
    """The clock of the process; only composition roots read it."""
    return datetime.now(UTC)
