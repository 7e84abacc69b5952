"""The steps that are taken without being asked, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import structlog

from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from agentworkspace.service.audit.sealer import Sealer
from agentworkspace.service.secret_file import SecretFile, as_it_is
from agentworkspace.service.store_faults import StoreFault, attempt
from agentworkspace.service.tasks import Task, Tasks
from agentworkspace.service.thread_pool import BlockingPool
from provision_service.catalogue.usage import UsedModel
from provision_service.commands.deployment import Deployment
from provision_service.domain.registry_port import Registry, RegistryUnavailable
from provision_service.metrics import ProvisionMetrics
from provision_service.storage import catalogue_use, launch_counts, outbox
from provision_service.storage.key_agreement import AgreedKeys
from provision_service.storage.keyring import KeysFile
from provision_service.storage.opening import still_needed
from provision_service.storage.store import Store
from provision_service.workers import (
    adopt_usage_token,
    drain_outbox,
    lapse,
    observe_launches,
    reconcile,
    rekey,
    report_keys,
    sweep,
)
from provision_service.workers.adopt_usage_token import AdoptUsageToken
from provision_service.workers.drain_outbox import DrainOutbox
from provision_service.workers.files import DeploymentFiles
from provision_service.workers.lapse import Lapse
from provision_service.workers.observe_launches import ObserveLaunches
from provision_service.workers.rekey import Rekey
from provision_service.workers.sweep import Sweep

T = TypeVar("T")

OUTBOX_SECONDS: Final = 1.0
OBSERVE_SECONDS: Final = 2.0
# The share of its time that it works, while it walks through a registry of many pages.
OBSERVE_SHARE: Final = 0.1
# A round walks the registry's table once, in the database: 0.1 to 0.2 s for 100,000
# workspaces. Often enough that a need is marked within a minute.
RECONCILE_SECONDS: Final = 30.0
REKEY_SECONDS: Final = 5.0
LAPSE_SECONDS: Final = 5.0
SWEEP_SECONDS: Final = 600.0
FILES_SECONDS: Final = 1.0
# Often within a lease (20 s), so that a slow database lets none run out.
KEYS_SECONDS: Final = 2.0
TRIAL_SECONDS: Final = 1.0
DEPTH_SECONDS: Final = 5.0
COUNTS_SECONDS: Final = 10.0


class Background:
    """Runs on a pool of its own, so that no load of calls keeps the outbox from draining.

    Made on the loop that runs it.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        pool: BlockingPool,
        deployment: Deployment,
        registry: Registry,
        files: DeploymentFiles,
        keys_file: KeysFile,
        keys: AgreedKeys,
        metrics: ProvisionMetrics,
        sealer: Sealer,
        jitter: Callable[[], float],
        reconciler: bool,
        trial: Callable[[], None],
        usage_token: Secret | None = None,
    ) -> None:
        self._store = store
        self._pool = pool
        self._deployment = deployment
        self._registry = registry
        self._files = files
        self._keys_file = keys_file
        self._keys = keys
        self._keys_changed = asyncio.Event()
        self._told_of_keys: tuple[str, ...] = ()
        self._metrics = metrics
        self._sealer = sealer
        self._jitter = jitter
        self._reconciler = reconciler
        self._trial = trial
        self._usage_token = usage_token
        self._adopted: Secret | None = None
        self._outbox_waits = asyncio.Event()
        self._revision = 0
        self._page_token = ""
        self._paused = ""
        self._rekeying = False
        self._log = structlog.get_logger("provision.background")

    def wake_outbox(self) -> None:
        """There is something to tell the registry."""
        self._outbox_waits.set()

    def tasks(self) -> list[Task]:
        every = [
            Task("outbox", OUTBOX_SECONDS, self.drain_outbox, self._outbox_waits),
            Task("outbox-depth", DEPTH_SECONDS, self.measure_outbox),
            Task("launch-counts", COUNTS_SECONDS, self.count_launches),
            Task("observer", OBSERVE_SECONDS, self.observe, share=OBSERVE_SHARE),
            Task("rekey", REKEY_SECONDS, self.rekey),
            Task("lapse", LAPSE_SECONDS, self.lapse),
            Task("sweep", SWEEP_SECONDS, self.sweep),
            Task("files", FILES_SECONDS, self.look_at_files),
            Task("keys-file", FILES_SECONDS, self.look_at_keys),
            Task("keys", KEYS_SECONDS, self.report_keys, self._keys_changed),
            Task("registry-trial", TRIAL_SECONDS, self.try_registry),
            *self._sealer.tasks(self._do),
        ]
        if isinstance(self._usage_token, SecretFile):
            every.append(Task("usage-token", FILES_SECONDS, self.adopt_usage_token))
        if self._reconciler:
            every.append(Task("reconciler", RECONCILE_SECONDS, self.reconcile))
        return every

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`; returns when every task has ended."""
        tasks = Tasks("provision", faults=self._metrics.faults, known=(RegistryUnavailable,))
        await tasks.run(self.tasks(), stop)
        with suppress(Refusal, StoreFault):
            await self._do(lambda store: report_keys.leave(store, self._keys))

    async def drain_outbox(self) -> bool:
        command = DrainOutbox(jitter=self._jitter)
        result = await self._do(
            lambda store: drain_outbox.run(store, command, self._deployment, self._registry)
        )
        if result.delivered or result.postponed:
            self._log.info(
                "told the registry", delivered=result.delivered, postponed=result.postponed
            )
        return result.full

    async def measure_outbox(self) -> bool:
        depth = await self._do(outbox.depth)
        self._metrics.outbox(depth.messages, depth.oldest_seconds)
        return False

    async def count_launches(self) -> bool:
        self._metrics.launches(await self._do(launch_counts.measure))
        return False

    async def observe(self) -> bool:
        command = ObserveLaunches(revision=self._revision, page_token=self._page_token)
        result = await self._do(
            lambda store: observe_launches.run(store, command, self._deployment, self._registry)
        )
        self._revision, self._page_token = result.revision, result.next_page_token
        if result.reminded:
            self._log.warning(
                "the registry counts fewer launches of some workspaces than are stored here, so it"
                " was restored from a backup; see deploy/restore.md",
                workspaces=result.reminded,
            )
            self._outbox_waits.set()
        return bool(result.next_page_token)

    async def reconcile(self) -> bool:
        result = await self._do(
            lambda store: reconcile.run(store, self._deployment, self._registry)
        )
        self._metrics.reconciled(result.marked_for.values(), paused=bool(result.paused))
        for workspace_id, reason in result.marked_for.items():
            self._log.warning(
                "a workspace needs a launch", workspace_id=workspace_id, reason=reason.value
            )
        for workspace_id in result.unmarked:
            self._log.info("a workspace needs no launch any more", workspace_id=workspace_id)
        if result.paused and result.paused != self._paused:
            self._log.error("the reconciler paused", why=result.paused)
        self._paused = result.paused
        return False

    async def rekey(self) -> bool:
        if not self._keys.agreement.settled:
            return False
        result = await self._do(lambda store: rekey.run(store, Rekey()))
        self._metrics.rekey(result.remaining, result.undecryptable)
        if result.rewritten and not self._rekeying:
            self._log.info(
                "encrypting under the new key", key_id=result.key_id, remaining=result.remaining
            )
        if self._rekeying and not result.remaining:
            self._log.info("everything is under the new key", key_id=result.key_id)
        self._rekeying = bool(result.rewritten and result.remaining)
        return self._rekeying

    async def lapse(self) -> bool:
        command = Lapse()
        lapsed = await self._do(lambda store: lapse.run(store, command))
        self._metrics.lapsed(len(lapsed))
        for provision_id in lapsed:
            self._log.warning("a launch lapsed", provision_id=provision_id)
        return len(lapsed) >= command.limit

    async def sweep(self) -> bool:
        result = await self._do(lambda store: sweep.run(store, Sweep()))
        return result.full

    async def look_at_files(self) -> bool:
        await self._pool.run(self._files.look_again, self._used_models)
        return False

    async def look_at_keys(self) -> bool:
        await self._pool.run(self._keys_file.look_again, self._needed_keys)
        if not self._keys.is_up_to_date:
            self._keys_changed.set()
        return False

    async def report_keys(self) -> bool:
        agreement = await self._do(lambda store: report_keys.run(store, self._keys))
        self._metrics.keys(lacking=len(agreement.lacking))
        told = tuple(report_keys.unsettled(agreement))
        if told != self._told_of_keys:
            for sentence in told:
                self._log.warning("keys differ between replicas", problem=sentence)
            if not told:
                self._log.info("every replica holds the key", key_id=agreement.wants)
        self._told_of_keys = told
        return False

    async def adopt_usage_token(self) -> bool:
        """Adopt the deployment's usage token when its file holds another one than the last time."""
        token = as_it_is(self._usage_token)
        if token != self._adopted:
            command = AdoptUsageToken(usage_token=token)
            await self._do(lambda store: adopt_usage_token.run(store, command))
            self._adopted = token
        return False

    async def try_registry(self) -> bool:
        await self._pool.run(self._trial)
        return False

    def _needed_keys(self, key_ids: frozenset[str]) -> frozenset[str]:
        def read() -> frozenset[str]:
            with self._store().reading() as tx:
                return still_needed(tx, key_ids, self._keys.replica)

        return attempt(read)

    def _used_models(self) -> list[UsedModel]:
        def read() -> list[UsedModel]:
            with self._store().reading() as tx:
                return catalogue_use.used_models(tx)

        return attempt(read)

    async def _do(self, step: Callable[[Store], T]) -> T:
        return await self._pool.run(lambda: attempt(lambda: step(self._store())))
