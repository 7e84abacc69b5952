"""What every servicer works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agentworkspace.rpc import calls
from agentworkspace.service.coalescer import Coalescer
from agentworkspace.service.commanding import Commanding
from agentworkspace.service.name_resolution import PublicUrls
from provision_service.commands.call import Call
from provision_service.commands.create_workspace import CreateWorkspace, Stored
from provision_service.commands.deployment import Deployment
from provision_service.domain.plan import EnvironmentPlan
from provision_service.domain.probing import Prober
from provision_service.domain.records import Provision
from provision_service.domain.registry_port import Registry
from provision_service.launch.claim import Claimed
from provision_service.launch.deliver import Ready
from provision_service.launch.provision_workspace import ProvisionWorkspace
from provision_service.metrics import ProvisionMetrics
from provision_service.storage.store import Store


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
    creates: Coalescer[CreateWorkspace, Stored | None]
    claims: Coalescer[ProvisionWorkspace, Claimed | None]
    deliveries: Coalescer[Ready, tuple[Provision, EnvironmentPlan] | None]


def current_call() -> Call:
    """The platform's caller and the names of the call. Raises CREDENTIAL_REJECTED for a box."""
    served = calls.current()
    return Call(
        caller=served.require_caller(), method=served.method, correlation_id=served.correlation_id
    )
