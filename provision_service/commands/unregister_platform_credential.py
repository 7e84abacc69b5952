"""Forget a platform credential. A usage token in use stays registered by itself."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands.call import Call, record, require_every_tenant
from provision_service.storage import platform_credentials
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class UnregisterPlatformCredential:
    """Takes an admin of all tenants."""

    call: Call
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnregisterPlatformCredentialResult:
    """`deleted` is False when there was none."""

    deleted: bool


def run(store: Store, command: UnregisterPlatformCredential) -> UnregisterPlatformCredentialResult:
    """Forget every value registered under the name."""
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
    return UnregisterPlatformCredentialResult(deleted=gone > 0)
