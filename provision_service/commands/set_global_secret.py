"""Store a secret for all workspaces of a tenant."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.secret import Secret
from provision_service.commands import writing
from provision_service.commands.call import Call, record
from provision_service.commands.deployment import Deployment
from provision_service.domain import guards
from provision_service.domain.records import SecretEntry
from provision_service.domain.scope import Scope
from provision_service.storage import secret_sizes, secrets, tenants
from provision_service.storage.secrets import SecretPlace
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class SetGlobalSecret:
    """The shape of key and value was checked before."""

    call: Call
    tenant_id: str
    key: str
    value: Secret


def run(store: Store, command: SetGlobalSecret, deployment: Deployment) -> SecretEntry:
    """Store it, for every workspace of the tenant. Raises FORBIDDEN_ENV_KEY,
    PLATFORM_CREDENTIAL_COMINGLED, BYPASS_KEY_REFUSED, SECRET_LIMIT_EXCEEDED.
    """
    command.call.caller.require_tenant(command.tenant_id)
    catalogue = deployment.catalogue()
    guards.refuse_forbidden(catalogue, command.key, Scope.GLOBAL)
    guards.refuse_global_route(catalogue, command.key)
    place = SecretPlace(tenant_id=command.tenant_id, workspace_id=None, key=command.key)
    with store.transaction() as tx:
        tenants.count_input(tx, command.tenant_id)
        tenant = tenants.find(tx, command.tenant_id)
        writing.refuse_comingled(tx, command.key, command.value)
        default = tenant.default_billing if tenant is not None else None
        guards.refuse_global_bypass(catalogue, command.key, default or deployment.default_billing)
        secret = secrets.put(tx, place, command.value, updated_by=command.call.caller.name)
        guards.refuse_too_much(
            secret_sizes.largest_workspace_bytes(tx, tenant_id=command.tenant_id)
        )
        record(
            tx,
            command.call,
            "secret.set",
            tenant_id=command.tenant_id,
            subject=command.key,
            details={"scope": "global"},
        )
    return secret
