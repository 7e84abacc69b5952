"""What every servicer is given to work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from agentworkspace.rpc import calls
from agentworkspace.service.batches import Batches
from agentworkspace.service.coalescer import Coalescer
from agentworkspace.service.commanding import Commanding
from agentworkspace.service.name_resolution import PublicUrls
from agentworkspace.service.store_faults import is_busy, refusal_of
from agentworkspace.service.thread_pool import BlockingPool
from provision_service.commands import create_workspaces
from provision_service.commands.call import Call
from provision_service.commands.create_workspace import (
    CreateWorkspace,
    CreateWorkspaceResult,
    Stored,
)
from provision_service.commands.deployment import Deployment
from provision_service.domain.probing import Prober
from provision_service.domain.registry_port import Registry
from provision_service.launch import launches
from provision_service.launch.claim import Claimed
from provision_service.launch.deliver import Ready
from provision_service.launch.launches import Launched
from provision_service.launch.provision_workspace import (
    ProvisionWorkspace,
    ProvisionWorkspaceResult,
)
from provision_service.metrics import ProvisionMetrics
from provision_service.storage.store import Store

# Two batches of a kind run at once, the second as soon as it has so many calls: one works while the
# other waits for the registry or the disk. Smaller ones would cost more than the waiting.
_LANES: Final = 2
_BESIDE: Final = 8

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Core(Commanding[Store]):
    """Made by the composition root.

    `wake_outbox` is called when a command may have left a message for the registry.
    """

    deployment: Deployment
    registry: Registry
    prober: Prober
    urls: PublicUrls
    metrics: ProvisionMetrics
    new_id: Callable[[], str]
    wake_outbox: Callable[[], None]
    hot: HotCalls


def current_call() -> Call:
    """The call that is being served: its configured caller, method and correlation id. Raises
    CREDENTIAL_REJECTED when it carries nothing but a box's token.
    """
    served = calls.current()
    return Call(
        caller=served.require_caller(),
        method=served.method,
        correlation_id=served.correlation_id,
        deadline=served.deadline,
    )


class HotCalls:
    """The calls that come by the hundred: what waits together is made together."""

    def __init__(
        self,
        batches: Batches,
        *,
        store: Callable[[], Store],
        pool: BlockingPool,
        deployment: Deployment,
        registry: Registry,
    ) -> None:
        def create(
            commands: Sequence[CreateWorkspace],
        ) -> Sequence[CreateWorkspaceResult | Stored | None]:
            stored = _or_alone(create_workspaces.run, store(), commands, deployment)
            return create_workspaces.finish(store(), commands, stored, deployment, registry)

        def launch(commands: Sequence[ProvisionWorkspace]) -> Sequence[Launched]:
            taken = _or_alone(launches.claim, store(), commands, deployment)
            return launches.go_on(store(), commands, taken, deployment, registry)

        self.creates: Coalescer[CreateWorkspace, CreateWorkspaceResult | Stored | None] = (
            batches.on_thread("create", create, lanes=_LANES, beside=_BESIDE)
        )
        self.launches: Coalescer[
            ProvisionWorkspace, ProvisionWorkspaceResult | Ready | Claimed | None
        ] = batches.on_thread(
            "launch",
            launch,
            lanes=_LANES,
            beside=_BESIDE,
            left=lambda left: pool.finish(launches.let_go, store(), left),
        )


def _or_alone(
    run: Callable[[Store, Sequence[Item], Deployment], Sequence[Answer | None]],
    store: Store,
    items: Sequence[Item],
    deployment: Deployment,
) -> Sequence[Answer | None]:
    """The answers of a batch; where one item makes it fail, each is to be run alone (None)."""
    try:
        return run(store, items, deployment)
    except Exception as error:
        if refusal_of(error) is not None and not is_busy(error):
            raise
        # One of them is the trouble, and not the store: a secret under a key that is not here yet,
        # say. Nothing was changed, and alone it is nobody else's.
        return [None] * len(items)
