"""The composition root: makes a serving registry from its settings."""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry
from typing_extensions import override

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
from agentworkspace.server.server import Mount
from agentworkspace.server.throttle import Throttle
from agentworkspace.service.audit.keys import read_keys
from agentworkspace.service.audit.rejected import RejectedCredentials
from agentworkspace.service.audit.sealer import Sealer
from agentworkspace.service.batches import Batches
from agentworkspace.service.connecting import Connector
from agentworkspace.service.name_resolution import Names, PublicUrls
from agentworkspace.service.serving import Process, new_id, now
from agentworkspace.service.store_faults import attempt
from agentworkspace.service.system_info import SystemInfo
from agentworkspace.service.thread_pool import BlockingPool
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
from registry_service.storage import checks, steady
from registry_service.storage.lines import Lines
from registry_service.storage.schema import AUDIT, SCHEMA
from registry_service.storage.store import open_store
from registry_service.workers.background import Background
from registry_service.workers.feed import RevocationFeed
from registry_service.workers.listener import Listener
from registry_service.workers.write_behind import LastHeard, LastUses, RefusedLedger

# Batches and background work have threads of their own, so that neither waits for the other. There
# are more kinds of batches than threads: a batch is short, and each thread keeps a connection.
HOT_THREADS: Final = 4
# More than all queues of batches can submit at once, so a batch waits here and is never refused.
HOT_WAITING: Final = 32
BACKGROUND_THREADS: Final = 2
SECRET_BYTES: Final = 32


class Registry(Process):
    """One process of the service. Make it on the event loop that serves it, and use it once."""

    def __init__(
        self,
        settings: Settings,
        database_url: Secret,
        *,
        reuse_port: bool = False,
        collectors: CollectorRegistry = REGISTRY,
    ) -> None:
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

        # These connections use prepared statements, which do not survive a transaction pooler.
        wanted = 0 if settings.database_pooled else LINES
        self._lines = Lines(self._store.database, (checks.KNOWN, steady.BEATING), count=wanted)
        metrics.watch_lines(lambda: self._lines.open_now, wanted)
        core = self._core(settings, metrics, collectors)
        self.hot = core.hot
        rejected = RejectedCredentials()
        keys = read_keys(settings.audit_key_file)
        self.background = Background(
            store=self._store,
            pool=self._aside,
            last_uses=core.last_uses,
            last_heard=core.last_heard,
            heartbeat_interval=settings.heartbeat_interval,
            refused=core.refused,
            metrics=metrics,
            sealer=Sealer(AUDIT, keys, rejected, collectors=collectors),
            on_pulse=self._pulsed,
        )
        super().__init__(
            SCHEMA,
            settings,
            policy=policy.POLICY,
            domain=errors.DOMAIN,
            translate=errors.translate,
            mounts=_mounts(core, self._feed),
            database=self._store.database,
            pools={"command": self.cold, "batch": self._hot, "background": self._aside},
            rejected=rejected,
            collectors=collectors,
            max_in_flight=settings.max_in_flight,
            reuse_port=reuse_port,
        )

    @override
    def _begin(self) -> None:
        self._run("feed", self._feed.run(), cancel=True)
        self._run("lines", self._lines.run(), cancel=True)
        if self._listener is not None:
            self._run("listener", self._listener.run(), cancel=True)
        self._run("background", self.background.run(self._stop))

    def _core(
        self, settings: Settings, metrics: RegistryMetrics, collectors: CollectorRegistry
    ) -> Core:
        return Core(
            store=lambda: self._store,
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
            last_heard=LastHeard(),
            refused=RefusedLedger(),
            hot=HotCalls(
                Batches(
                    self._hot,
                    max_batch=settings.max_batch,
                    max_waiting=settings.max_waiting,
                    collectors=collectors,
                ),
                store=self._store,
                lines=self._lines,
                heartbeat_interval=settings.heartbeat_interval,
                new_secret=new_secret,
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


def new_secret(kind: TokenKind) -> Secret:
    return assemble(kind, secrets.token_bytes(SECRET_BYTES))


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
