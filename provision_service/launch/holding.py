"""Whether a launch still holds the claim of its workspace."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from provision_service.commands import access
from provision_service.commands.call import Call
from provision_service.domain.launch import claim_is_live
from provision_service.domain.lifecycle import ProvisionState
from provision_service.domain.records import Provision
from provision_service.storage import workspaces

# A box came, or the launcher said that it was started: no claim is needed any more.
PAST_THE_CLAIM: Final = frozenset(
    {ProvisionState.LAUNCHED, ProvisionState.REGISTERED, ProvisionState.PROVEN}
)


def lock(tx: Connection, call: Call, provision_id: str) -> tuple[Provision, datetime]:
    """The launch and the database's clock, with its workspace's row locked."""
    provision, _ = access.read_provision(tx, call, provision_id)
    workspaces.lock(tx, provision.workspace_id)
    return access.read_provision(tx, call, provision_id)


def require_claim(provision: Provision, now: datetime) -> None:
    """Raise PROVISION_SUPERSEDED unless the launch holds its workspace's claim."""
    state, lease = provision.state, provision.lease_expire_time
    if state is ProvisionState.SUPERSEDED:
        raise access.superseded(provision.id, "a newer launch, or a removal, ended it")
    if state is ProvisionState.FAILED or state is None or lease is None:
        raise access.superseded(provision.id, "it failed")
    if not claim_is_live(state, lease, now):
        raise access.superseded(provision.id, "its lease ran out")
