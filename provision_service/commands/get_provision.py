"""Read one launch, with what the registry says of it while it is on its way."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands import access
from provision_service.commands.call import Call
from provision_service.commands.deployment import Deployment
from provision_service.domain.records import Provision
from provision_service.domain.registry_port import Registry
from provision_service.launch import observation
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class GetProvision:
    """Which launch."""

    call: Call
    provision_id: str


def run(
    store: Store, command: GetProvision, deployment: Deployment, registry: Registry
) -> Provision:
    """Read it. While it is on its way the registry is asked first, briefly."""
    with store.reading() as tx:
        provision, _ = access.read_provision(tx, command.call, command.provision_id)
    if provision.state in observation.ON_ITS_WAY and observation.peek(
        store, deployment, registry, provision.workspace_id
    ):
        with store.reading() as tx:
            provision, _ = access.read_provision(tx, command.call, command.provision_id)
    return provision
