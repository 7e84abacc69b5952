"""Delete a secret of a tenant."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands.call import Call, record
from provision_service.storage import secrets, tenants
from provision_service.storage.secrets import SecretPlace
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteGlobalSecret:
    """Which secret."""

    call: Call
    tenant_id: str
    key: str


def run(store: Store, command: DeleteGlobalSecret) -> bool:
    """Delete it. False: there was none."""
    command.call.caller.require_tenant(command.tenant_id)
    place = SecretPlace(tenant_id=command.tenant_id, workspace_id=None, key=command.key)
    with store.transaction() as tx:
        tenant = tenants.find(tx, command.tenant_id, lock_it=True)
        deleted = tenant is not None and secrets.remove(tx, place)
        if deleted:
            tenants.count_input(tx, command.tenant_id)
            record(
                tx,
                command.call,
                "secret.delete",
                tenant_id=command.tenant_id,
                subject=command.key,
                details={"scope": "global"},
            )
    return deleted
