"""Forget a platform credential. Usage tokens in use are registered by the service, and stay."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands.call import Call, record, require_every_tenant
from provision_service.storage import platform_credentials
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class UnregisterPlatformCredential:
    """The caller must act for all tenants, else TENANT_FORBIDDEN."""

    call: Call
    name: str


def run(store: Store, command: UnregisterPlatformCredential) -> bool:
    """Forget every value registered under the name. False: there was none."""
    require_every_tenant(command.call)
    with store.transaction() as tx:
        gone = platform_credentials.unregister(tx, name=command.name)
        if gone:
            record(
                tx,
                command.call,
                "platform_credential.unregister",
                subject=command.name,
                details={"values": str(gone)},
            )
    return gone > 0
