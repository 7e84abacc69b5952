"""The composition root: settings in, a service that provisions out."""

from __future__ import annotations

import os
import random
import secrets
import socket
import time
from functools import partial
from typing import Final

import grpc
from prometheus_client import REGISTRY, CollectorRegistry
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from agentworkspace.provision.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server
from agentworkspace.provision.v1.billing_service_pb2_grpc import (
    add_BillingServiceServicer_to_server,
)
from agentworkspace.provision.v1.catalogue_service_pb2_grpc import (
    add_CatalogueServiceServicer_to_server,
)
from agentworkspace.provision.v1.secret_service_pb2_grpc import add_SecretServiceServicer_to_server
from agentworkspace.provision.v1.system_service_pb2_grpc import add_SystemServiceServicer_to_server
from agentworkspace.provision.v1.workspace_service_pb2_grpc import (
    add_WorkspaceServiceServicer_to_server,
)
from agentworkspace.server.server import Mount
from agentworkspace.service.audit.keys import read_keys
from agentworkspace.service.audit.rejected import RejectedCredentials
from agentworkspace.service.audit.sealer import Sealer
from agentworkspace.service.batches import Batches
from agentworkspace.service.connection_faults import why
from agentworkspace.service.name_resolution import Names, PublicUrls
from agentworkspace.service.serving import Process, new_id, now
from agentworkspace.service.store_faults import attempt, store_unavailable
from agentworkspace.service.system_info import SystemInfo
from agentworkspace.service.tasks import first_of
from agentworkspace.service.thread_pool import BlockingPool
from provision_service.api import errors, policy
from provision_service.api.audit_servicer import Audit
from provision_service.api.billing_servicer import Billings
from provision_service.api.box_bearers import BoxBearers
from provision_service.api.catalogue_servicer import Catalogues
from provision_service.api.core import Core, HotCalls
from provision_service.api.secret_servicer import Secrets
from provision_service.api.system_servicer import System
from provision_service.api.workspace_servicer import Workspaces
from provision_service.clients.registry import RegistryClient
from provision_service.commands.deployment import Deployment
from provision_service.config import Settings
from provision_service.metrics import ProvisionMetrics
from provision_service.storage.key_agreement import AgreedKeys
from provision_service.storage.key_holders import Replica
from provision_service.storage.opening import WrongKey, open_store
from provision_service.storage.schema import AUDIT, SCHEMA
from provision_service.storage.store import Store, database
from provision_service.wiring import (
    deployment_of,
    keys_file,
    observer,
    prober_of,
    registry_channel,
)
from provision_service.workers import adopt_usage_token
from provision_service.workers.adopt_usage_token import AdoptUsageToken
from provision_service.workers.background import Background
from provision_service.workers.files import DeploymentFiles

# Threads of the workers' own pool, so that workers and calls never wait for each other.
BACKGROUND_THREADS: Final = 4
# Calls in flight at most; or twice as many as may wait for a thread, when that is more.
LEAST_IN_FLIGHT: Final = 1024
OPENING_SECONDS: Final = 0.5
# The largest batch: its transaction holds the locks of all that it writes until its end.
AT_ONCE: Final = 64


class Provisioning(Process):
    """One process of the service. Made on the event loop that serves it; used once."""

    def __init__(
        self,
        settings: Settings,
        database_url: Secret,
        *,
        reuse_port: bool = False,
        collectors: CollectorRegistry = REGISTRY,
    ) -> None:
        self._opened: Store | None = None
        self._usage_token = settings.platform_usage_token
        metrics = ProvisionMetrics(collectors)
        files = _files(settings, metrics)
        keys_in_file = keys_file(settings, partial(metrics.file, "keys"))
        me = Replica(replica_id=new_id(), name=f"{socket.gethostname()}/{os.getpid()}")
        self._keys = AgreedKeys(keys_in_file.current, me)
        opened = database(
            database_url,
            pool_size=settings.threads + BACKGROUND_THREADS,
            pooled=settings.database_pooled,
        )
        self._pool = BlockingPool(threads=settings.threads, max_waiting=settings.max_waiting)
        self._aside = BlockingPool(threads=BACKGROUND_THREADS, max_waiting=100, name="background")

        self._channel = _channel(settings, metrics)
        registry = RegistryClient(self._channel, observe=metrics.registry_called)
        deployment = deployment_of(settings, files, observer(metrics, "registry-ca"))
        rejected = RejectedCredentials()
        self._background = Background(
            store=self._store,
            pool=self._aside,
            deployment=deployment,
            registry=registry,
            files=files,
            keys_file=keys_in_file,
            keys=self._keys,
            metrics=metrics,
            sealer=_sealer(settings, rejected, collectors),
            jitter=random.random,
            reconciler=settings.reconciler,
            trial=registry.trial,
            usage_token=self._usage_token,
        )
        core = self._core(settings, metrics, registry, deployment, collectors)
        bearers = BoxBearers(registry, self._pool, time.monotonic)
        system = System(core, SystemInfo.of(SCHEMA, now), self._keys.current)
        super().__init__(
            SCHEMA,
            settings,
            policy=policy.POLICY,
            domain=errors.DOMAIN,
            translate=partial(errors.translate, observe=metrics.refused),
            mounts=_mounts(core, bearers, system),
            database=opened,
            pools={"command": self._pool, "background": self._aside},
            rejected=rejected,
            collectors=collectors,
            max_in_flight=max(LEAST_IN_FLIGHT, 2 * settings.max_waiting),
            reuse_port=reuse_port,
            reread=partial(metrics.file, "credentials"),
        )

    def _core(
        self,
        settings: Settings,
        metrics: ProvisionMetrics,
        registry: RegistryClient,
        deployment: Deployment,
        collectors: CollectorRegistry,
    ) -> Core:
        batches = Batches(
            self._pool,
            max_batch=AT_ONCE,
            max_waiting=settings.max_waiting,
            collectors=collectors,
        )
        return Core(
            store=self._store,
            pool=self._pool,
            deployment=deployment,
            registry=registry,
            prober=prober_of(settings),
            urls=PublicUrls(Names(), allow_private=settings.allow_private_urls),
            metrics=metrics,
            new_id=new_id,
            wake_outbox=self._background.wake_outbox,
            hot=HotCalls(
                batches,
                store=self._store,
                pool=self._pool,
                deployment=deployment,
                registry=registry,
            ),
        )

    @override
    def _begin(self) -> None:
        self._run("opening", self._open())

    @override
    async def stop(self) -> None:
        await super().stop()
        self._channel.close()

    def _store(self) -> Store:
        if self._opened is None:
            raise store_unavailable()
        return self._opened

    async def _open(self) -> None:
        """Try until the database answers, then serve. A wrong key ends the process: served
        with it, the service would write what nobody can read.
        """
        reported = False
        while not self._stop.is_set():
            try:
                opened = await self._aside.run(self._open_store)
            except WrongKey as error:
                self.cannot_serve.set_exception(error)
                return
            except Exception as error:  # noqa: BLE001 - it is tried again until it works
                if not reported:
                    reported = True
                    known = isinstance(error, SQLAlchemyError | Refusal)
                    self._log.warning(
                        "the store cannot be opened yet",
                        why=why(error, "provision"),
                        exc_info=None if known else error,
                    )
                await first_of(OPENING_SECONDS, self._stop)
                continue
            self._opened = opened
            self._run("background", self._background.run(self._stop))
            await self._writes.ready()
            return

    def _open_store(self) -> Store:
        store = open_store(self._database, self._keys, secrets.token_bytes)
        adopted = AdoptUsageToken(usage_token=self._usage_token)
        attempt(lambda: adopt_usage_token.run(store, adopted))
        return store


def _files(settings: Settings, metrics: ProvisionMetrics) -> DeploymentFiles:
    refused = partial(metrics.file, "catalogue-or-templates")
    return DeploymentFiles(settings.catalogue_file, settings.templates_file, refused)


def _channel(settings: Settings, metrics: ProvisionMetrics) -> grpc.Channel:
    return registry_channel(
        settings,
        observe_tls=observer(metrics, "registry-tls"),
        observe_token=observer(metrics, "registry-token"),
    )


def _sealer(
    settings: Settings, rejected: RejectedCredentials, collectors: CollectorRegistry
) -> Sealer:
    return Sealer(AUDIT, read_keys(settings.audit_key_file), rejected, collectors=collectors)


def _mounts(core: Core, bearers: BoxBearers, system: System) -> list[Mount]:
    adders = (
        partial(add_WorkspaceServiceServicer_to_server, Workspaces(core)),
        partial(add_BillingServiceServicer_to_server, Billings(core)),
        partial(add_SecretServiceServicer_to_server, Secrets(core)),
        partial(add_CatalogueServiceServicer_to_server, Catalogues(core, bearers)),
        partial(add_AuditServiceServicer_to_server, Audit(core)),
        partial(add_SystemServiceServicer_to_server, system),
    )
    return [Mount(service, add) for service, add in zip(policy.SERVICES, adders, strict=True)]
