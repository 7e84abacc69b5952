"""The composition root: settings in, a registry that serves out."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog
from prometheus_client import REGISTRY, CollectorRegistry

from agentworkspace.core.secret import Secret
from agentworkspace.registry.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server
from agentworkspace.registry.v1.registration_service_pb2_grpc import (
    add_RegistrationServiceServicer_to_server,
)
from agentworkspace.registry.v1.system_service_pb2_grpc import add_SystemServiceServicer_to_server
from agentworkspace.registry.v1.token_service_pb2_grpc import add_TokenServiceServicer_to_server
from agentworkspace.registry.v1.workspace_registry_service_pb2_grpc import (
    add_WorkspaceRegistryServiceServicer_to_server,
)
from agentworkspace.server.credentials import CredentialsFile
from agentworkspace.server.edge import Edge
from agentworkspace.server.metrics import EdgeMetrics
from agentworkspace.server.server import Mount, RpcServer
from agentworkspace.server.throttle import Throttle
from agentworkspace.service.audit.keys import read_keys
from agentworkspace.service.audit.rejected import RejectedCredentials
from agentworkspace.service.audit.sealer import Sealer
from agentworkspace.service.connecting import Connector
from agentworkspace.service.ending import end_service
from agentworkspace.service.name_resolution import Names, PublicUrls
from agentworkspace.service.pool_metrics import PoolMetrics
from agentworkspace.service.serving import edge_settings, serve_until_told, server_settings
from agentworkspace.service.store_faults import attempt
from agentworkspace.service.system_info import SystemInfo
from agentworkspace.service.thread_pool import BlockingPool
from agentworkspace.service.write_watch import WriteWatch
from registry_service.api import errors, policy
from registry_service.api.audit_servicer import Audit
from registry_service.api.core import LINES, Core, HotCalls, Rules, Sources
from registry_service.api.registration_servicer import Registrations
from registry_service.api.system_servicer import System
from registry_service.api.token_servicer import Tokens
from registry_service.api.workspace_servicer import Workspaces
from registry_service.commands import read_revocations
from registry_service.commands.read_revocations import ReadRevocations, Revocations
from registry_service.config import Settings
from registry_service.domain.tokens import TokenKind, assemble
from registry_service.metrics import RegistryMetrics
from registry_service.storage import checks
from registry_service.storage.lines import Lines
from registry_service.storage.schema import AUDIT, SCHEMA
from registry_service.storage.store import open_store
from registry_service.workers.background import Background
from registry_service.workers.feed import RevocationFeed
from registry_service.workers.listener import Listener
from registry_service.workers.write_behind import LastUses, RefusedLedger

# One thread for each kind of batch (checks that no line answered come in one of two kinds, as
# lines are up or down), and a little for the background: neither waits for the other.
HOT_THREADS: Final = 4
# More than there are kinds of batches, and lanes of them: who waits here waits for its turn.
HOT_WAITING: Final = 32
BACKGROUND_THREADS: Final = 2
SECRET_BYTES: Final = 32


class Registry:
    """One process of the service. Made on the event loop that serves it; used once."""

    def __init__(
        self,
        settings: Settings,
        database_url: Secret,
        *,
        reuse_port: bool = False,
        collectors: CollectorRegistry = REGISTRY,
    ) -> None:
        if settings.credentials_file is None:
            raise ValueError("no credentials file: config.require_for_serving was not asked")
        self._log = structlog.get_logger("registry")
        self._stop = asyncio.Event()
        self._grace = settings.stop_grace.total_seconds()
        self._stopping = False
        self._running: list[asyncio.Task[None]] = []
        self._until_stopped: list[asyncio.Task[None]] = []
        self.cannot_serve: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        metrics = RegistryMetrics(collectors)
        self._store = open_store(
            database_url,
            heartbeat_interval=settings.heartbeat_interval,
            pool_size=settings.threads + HOT_THREADS + BACKGROUND_THREADS,
            pooled=settings.database_pooled,
        )
        self.cold = BlockingPool(threads=settings.threads, max_waiting=settings.max_waiting)
        self._hot = BlockingPool(threads=HOT_THREADS, max_waiting=HOT_WAITING, name="batch")
        self._aside = BlockingPool(threads=BACKGROUND_THREADS, max_waiting=100, name="background")

        self._feed = RevocationFeed(
            self._read_revocations,
            observe=lambda revocation: metrics.revoked(revocation.reason),
            on_fault=lambda: metrics.background_fault("feed"),
        )
        self._listener = self._listener_at(_listen_url(settings, database_url))

        # Through a pooler nothing stays prepared, so nothing is asked this way.
        wanted = 0 if settings.database_pooled else LINES
        self._lines = Lines(self._store.database, checks.KNOWN, count=wanted)
        metrics.watch_lines(lambda: self._lines.open_now, wanted)
        core = self._core(settings, metrics)
        self.hot = core.hot
        rejected = RejectedCredentials()
        keys = read_keys(settings.audit_key_file)
        self.background = Background(
            store=self._store,
            pool=self._aside,
            last_uses=core.last_uses,
            refused=core.refused,
            metrics=metrics,
            sealer=Sealer(AUDIT, keys, rejected, collectors=collectors),
            on_pulse=self._pulsed,
        )
        credentials = CredentialsFile(settings.credentials_file)
        edge = Edge(
            policy=policy.POLICY,
            authenticate=credentials.identify,
            translate=errors.translate,
            settings=edge_settings(settings, errors.DOMAIN, max_in_flight=settings.max_in_flight),
            metrics=EdgeMetrics(collectors),
            rejected=rejected.count,
        )
        self._server = RpcServer(
            server_settings(settings, reuse_port=reuse_port),
            edge,
            _mounts(core, self._feed),
        )
        self._writes = WriteWatch(
            self._store.database,
            SCHEMA.name,
            tell=lambda serving: self._server.set_health(serving=serving),
        )
        PoolMetrics(
            collectors,
            database=self._store.database,
            takes_writes=lambda: self._writes.takes_writes,
            threads={"command": self.cold, "batch": self._hot, "background": self._aside},
        )

    @property
    def control_port(self) -> int | None:
        """Where the control plane's own listener is, when there is one."""
        return self._server.control_port

    async def start(self) -> int:
        """Listen, and return the port. Health says SERVING while the database takes writes."""
        port = await self._server.start()
        self._running = [
            asyncio.create_task(self._feed.run(), name="feed"),
            asyncio.create_task(self._lines.run(), name="lines"),
        ]
        if self._listener is not None:
            self._running.append(asyncio.create_task(self._listener.run(), name="listener"))
        self._until_stopped = [
            asyncio.create_task(self.background.run(self._stop), name="background"),
            asyncio.create_task(self._writes.run(self._stop), name="write-watch"),
        ]
        self._log.info("listening", port=port, control_port=self.control_port)
        return port

    async def stop(self) -> None:
        """Finish what runs, write what is remembered, close. Twice is once."""
        if self._stopping:
            return
        self._stopping = True
        self._log.info("stopping")
        await end_service(
            server=self._server,
            stop=self._stop,
            until_stopped=self._until_stopped,
            cancelled=self._running,
            pools=(self._hot, self.cold, self._aside),
            database=self._store.database,
            grace=self._grace,
        )
        self._log.info("stopped")

    def _core(self, settings: Settings, metrics: RegistryMetrics) -> Core:
        return Core(
            store=self._store,
            pool=self.cold,
            rules=Rules(
                bootstrap_policy=settings.bootstrap_policy,
                heartbeat_interval=settings.heartbeat_interval,
            ),
            sources=Sources(new_secret=new_secret, new_id=new_id, monotonic=time.monotonic),
            urls=PublicUrls(Names(), allow_private=settings.allow_private_urls),
            throttle=Throttle(burst=settings.refused_burst, per_second=settings.refused_per_second),
            metrics=metrics,
            last_uses=LastUses(),
            refused=RefusedLedger(),
            hot=HotCalls(
                store=self._store,
                pool=self._hot,
                lines=self._lines,
                new_secret=new_secret,
                metrics=metrics,
                max_batch=settings.max_batch,
                max_waiting=settings.max_waiting,
            ),
        )

    def _listener_at(self, url: Secret | None) -> Listener | None:
        if url is None:
            return None
        connector = Connector(url, name="registry-service")
        return Listener(connector, self._store.database, wake=self._feed.wake)

    async def _read_revocations(self, command: ReadRevocations) -> Revocations:
        read = partial(read_revocations.run, self._store, command)
        return await self._aside.run(attempt, read)

    async def _pulsed(self) -> None:
        await self._writes.ready()


async def serve(
    settings: Settings,
    database_url: Secret,
    *,
    reuse_port: bool = False,
    process: int = 0,
) -> None:
    """Serve until SIGTERM or SIGINT. `process` counts those that share the port.

    ListenRefused, CredentialsInvalid, BadAuditKey or OSError when it cannot begin.
    """
    registry = Registry(settings, database_url, reuse_port=reuse_port)
    await serve_until_told(registry, settings, process=process)


def new_secret(kind: TokenKind) -> Secret:
    return assemble(kind, secrets.token_bytes(SECRET_BYTES))


def new_id() -> str:
    return str(uuid.uuid4())


def now() -> datetime:
    return datetime.now(UTC)


def _listen_url(settings: Settings, database_url: Secret) -> Secret | None:
    if settings.database_listen_url is not None:
        return settings.database_listen_url
    return None if settings.database_pooled else database_url


def _mounts(core: Core, feed: RevocationFeed) -> list[Mount]:
    adders = (
        partial(add_TokenServiceServicer_to_server, Tokens(core, feed)),
        partial(add_RegistrationServiceServicer_to_server, Registrations(core)),
        partial(add_WorkspaceRegistryServiceServicer_to_server, Workspaces(core)),
        partial(add_AuditServiceServicer_to_server, Audit(core)),
        partial(add_SystemServiceServicer_to_server, System(core, SystemInfo.of(SCHEMA, now))),
    )
    return [Mount(service, add) for service, add in zip(policy.SERVICES, adders, strict=True)]
