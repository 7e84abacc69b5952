"""Find values that several tenants share, and values that equal a platform credential."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands.call import Call, require_every_tenant
from provision_service.commands.deployment import Deployment
from provision_service.domain.records import SecretHolder, SharedGroup
from provision_service.storage import platform_credentials
from provision_service.storage.encryption import shown
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSharedSecrets:
    """The caller must act for all tenants, else TENANT_FORBIDDEN."""

    call: Call


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSharedSecretsResult:
    """One group for each fingerprint; `compared_count` values were compared across tenants."""

    groups: tuple[SharedGroup, ...]
    compared_count: int


def run(
    store: Store, command: AuditSharedSecrets, deployment: Deployment
) -> AuditSharedSecretsResult:
    """Compare keyed fingerprints; nothing is decrypted.

    Across tenants only long values of credential names count: an endpoint that two tenants
    both use is no shared secret. A value that is the platform's own counts under any name.
    """
    require_every_tenant(command.call)
    catalogue = deployment.catalogue()
    names: set[str] = set()
    for runtime in catalogue.runtimes:
        names |= catalogue.bypass_credentials(runtime)
    with store.reading() as tx:
        found = platform_credentials.shared_holders(tx, sorted(names))
        grouped: dict[bytes, list[SecretHolder]] = {}
        for fingerprint, holder in found:
            grouped.setdefault(fingerprint, []).append(holder)
        named = platform_credentials.names_by_fingerprint(tx, list(grouped))
        compared = platform_credentials.count_compared(tx, sorted(names))
    groups = tuple(
        SharedGroup(
            fingerprint=shown(fingerprint),
            holders=tuple(holders),
            platform_credential_names=named.get(fingerprint, ()),
        )
        for fingerprint, holders in grouped.items()
    )
    return AuditSharedSecretsResult(groups=groups, compared_count=compared)
