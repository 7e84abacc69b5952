"""What every servicer works with, and the one way in which it runs a command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from agentworkspace.rpc import calls
from agentworkspace.service.name_resolution import PublicUrls
from agentworkspace.service.store_faults import attempt
from agentworkspace.service.thread_pool import BlockingPool
from provision_service.commands.deployment import Deployment
from provision_service.domain.probing import Prober
from provision_service.domain.registry_port import Registry
from provision_service.metrics import ProvisionMetrics
from provision_service.storage.store import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """Made by the composition root. `store` answers STORE_UNAVAILABLE until it is open.

    `wake_outbox` is called when a command may have left a message for the registry.
    """

    store: Callable[[], Store]
    pool: BlockingPool
    deployment: Deployment
    registry: Registry
    prober: Prober
    urls: PublicUrls
    metrics: ProvisionMetrics
    new_id: Callable[[], str]
    wake_outbox: Callable[[], None]

    async def run(self, command: Callable[[Store], T]) -> T:
        """Run a command on the pool, within the time that its call has left."""
        call = calls.current()

        def work() -> T:
            store = self.store().within(call.remaining)
            return attempt(lambda: command(store))

        return await self.pool.run(work)
