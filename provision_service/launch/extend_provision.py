"""Prolong the claim of a launch that takes long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from provision_service.commands import access
from provision_service.commands.call import Call, record
from provision_service.commands.deployment import Deployment
from provision_service.domain.records import Provision
from provision_service.launch import holding
from provision_service.storage import claims
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendProvision:
    """Which launch."""

    call: Call
    provision_id: str


def run(store: Store, command: ExtendProvision, deployment: Deployment) -> Provision:
    """Hold the claim for a whole lease from now.

    A launch that has come further needs no claim: nothing changes. Raises
    PROVISION_UNKNOWN, PROVISION_SUPERSEDED.
    """
    with store.transaction() as tx:
        provision, now = holding.lock(tx, command.call, command.provision_id)
        if provision.state not in holding.PAST_THE_CLAIM:
            holding.require_claim(provision, now)
            claims.extend(tx, provision.id, deployment.provision_lease)
            before = provision.lease_expire_time
            provision, _ = access.read_provision(tx, command.call, provision.id)
            record(
                tx,
                command.call,
                "workspace.launch_extend",
                tenant_id=provision.tenant_id,
                workspace_id=provision.workspace_id,
                subject=provision.id,
                details={"from": _text(before), "to": _text(provision.lease_expire_time)},
            )
    return provision


def _text(time: datetime | None) -> str:
    return "" if time is None else time.isoformat()
