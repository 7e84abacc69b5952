"""What every servicer is given to work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from agentworkspace.rpc import calls
from agentworkspace.service.batches import Batches
from agentworkspace.service.coalescer import Coalescer
from agentworkspace.service.commanding import Commanding
from agentworkspace.service.name_resolution import PublicUrls
from agentworkspace.service.store_faults import is_busy, refusal_of
from agentworkspace.service.thread_pool import BlockingPool
from provision_service.commands import create_workspaces
from provision_service.commands.call import Call
from provision_service.commands.create_workspace import CreateWorkspace, Stored
from provision_service.commands.deployment import Deployment
from provision_service.domain.plan import EnvironmentPlan
from provision_service.domain.probing import Prober
from provision_service.domain.records import Provision
from provision_service.domain.registry_port import Registry
from provision_service.launch import launches
from provision_service.launch.claim import Claimed
from provision_service.launch.deliver import Ready
from provision_service.launch.provision_workspace import ProvisionWorkspace
from provision_service.metrics import ProvisionMetrics
from provision_service.storage.store import Store

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
        caller=served.require_caller(), method=served.method, correlation_id=served.correlation_id
    )


class HotCalls:
    """The calls that come by the hundred: what waits together is stored together."""

    def __init__(
        self,
        batches: Batches,
        *,
        store: Callable[[], Store],
        pool: BlockingPool,
        deployment: Deployment,
    ) -> None:
        self.creates: Coalescer[CreateWorkspace, Stored | None] = batches.on_thread(
            "create", _or_alone(lambda items: create_workspaces.run(store(), items, deployment))
        )
        self.claims: Coalescer[ProvisionWorkspace, Claimed | None] = batches.on_thread(
            "claim",
            _or_alone(lambda items: launches.claim(store(), items, deployment)),
            left=lambda left: pool.finish(launches.let_go, store(), left),
        )
        # What has begun is not turned away: the box before it is void by now.
        self.deliveries: Coalescer[Ready, tuple[Provision, EnvironmentPlan] | None] = (
            batches.on_thread(
                "deliver",
                _or_alone(lambda items: launches.hand_out(store(), items, deployment)),
                begun=True,
            )
        )


def _or_alone(
    run: Callable[[Sequence[Item]], Sequence[Answer | None]],
) -> Callable[[Sequence[Item]], Sequence[Answer | None]]:
    """The same, but where one item makes the batch fail, each is run alone (None)."""

    def all_or_none(items: Sequence[Item]) -> Sequence[Answer | None]:
        try:
            return run(items)
        except Exception as error:
            if refusal_of(error) is not None and not is_busy(error):
                raise
            # One of them is the trouble, and not the store: a secret under a key that is not here
            # yet, say. Nothing was changed, and alone it is nobody else's.
            return [None] * len(items)

    return all_or_none
