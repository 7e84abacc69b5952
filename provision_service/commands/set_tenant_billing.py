"""Set a tenant's usage token, and whether its global secrets may be vendors' keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from provision_service.commands.call import Call, record
from provision_service.commands.deployment import Deployment
from provision_service.domain.billing import BillingMode
from provision_service.domain.refusals import Reason
from provision_service.storage import platform_credentials, tenants
from provision_service.storage.encryption import Sealed, usage_token_place
from provision_service.storage.store import Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTenantBilling:
    """None keeps what is there; a blank usage token removes it.

    `create` also takes a tenant that has nothing here yet.
    """

    call: Call
    tenant_id: str
    default_billing: BillingMode | None = None
    platform_usage_token: Secret | None = None
    create: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTenantBillingResult:
    """The tenant's billing now."""

    tenant_id: str
    default_billing: BillingMode
    has_platform_usage_token: bool


def run(store: Store, command: SetTenantBilling, deployment: Deployment) -> SetTenantBillingResult:
    """Set it. The usage token becomes a platform credential by itself, and the one before
    it ceases to be one. Raises PLATFORM_CREDENTIAL_COMINGLED for another tenant's token,
    TENANT_UNKNOWN.
    """
    command.call.caller.require_tenant(command.tenant_id)
    with store.transaction() as tx:
        if command.create:
            tenants.ensure(tx, command.tenant_id)
        if tenants.find(tx, command.tenant_id, lock_it=True) is None:
            raise Refusal(
                Reason.TENANT_UNKNOWN,
                f"tenant `{command.tenant_id}` has nothing here; is it spelled as meant? For a new"
                " tenant set `create`",
                metadata={"tenant_id": command.tenant_id},
            )
        values: dict[str, Any] = {}
        if command.default_billing is not None:
            values["default_billing"] = command.default_billing.value
        if command.platform_usage_token is not None:
            values |= _usage_token(tx, command, deployment)
        if values:
            tenants.change(tx, command.tenant_id, values)
            tenants.count_input(tx, command.tenant_id)
            record(
                tx,
                command.call,
                "tenant.billing",
                tenant_id=command.tenant_id,
                details={"changed": ",".join(sorted(_changed(command)))},
            )
        tenant = tenants.find(tx, command.tenant_id)
    default = tenant.default_billing if tenant is not None else None
    return SetTenantBillingResult(
        tenant_id=command.tenant_id,
        default_billing=default or deployment.default_billing,
        has_platform_usage_token=tenant is not None and tenant.usage_token is not None,
    )


def _usage_token(
    tx: Transaction, command: SetTenantBilling, deployment: Deployment
) -> dict[str, Any]:
    """The tenant's columns for the new token, which is also registered in place of the old one."""
    token = command.platform_usage_token
    name = platform_credentials.tenant_token_name(command.tenant_id)
    if token is None or token.is_blank():
        platform_credentials.set_usage_token(tx, name=name, fingerprint=None, tenant_id=None)
        return _columns(None)
    fingerprint = tx.fingerprints.of(token)
    platform_credentials.lock_usage_token(tx, fingerprint=fingerprint)
    served = platform_credentials.tenants_served_by(tx, fingerprint=fingerprint)
    others = served - {command.tenant_id}
    if others and not deployment.usage_token_shared:
        raise Refusal(
            Reason.PLATFORM_CREDENTIAL_COMINGLED,
            "this usage token serves another tenant already; each tenant needs one of its own",
            metadata={"key": "platform_usage_token", "tenant_id": command.tenant_id},
        )
    platform_credentials.set_usage_token(
        tx, name=name, fingerprint=fingerprint, tenant_id=command.tenant_id
    )
    platform_credentials.release_deployment_token(tx, tenant_id=command.tenant_id)
    place = usage_token_place(command.tenant_id)
    return _columns(tx.vault.seal(place, token.reveal().encode("utf-8")))


def _columns(sealed: Sealed | None) -> dict[str, Any]:
    return {
        "usage_token_ciphertext": sealed.ciphertext if sealed is not None else None,
        "usage_token_nonce": sealed.nonce if sealed is not None else None,
        "usage_token_key_id": sealed.key_id if sealed is not None else None,
    }


def _changed(command: SetTenantBilling) -> list[str]:
    named = {
        "default_billing": command.default_billing,
        "platform_usage_token": command.platform_usage_token,
    }
    return [name for name, value in named.items() if value is not None]
