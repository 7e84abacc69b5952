"""Which of the present secrets counts as a provider's credential."""

from __future__ import annotations

from provision_service.catalogue.catalogue import Catalogue, Provider, Runtime
from provision_service.domain.ownership import counts_for
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import MergedSecrets, StoredSecret


def credential_of(
    catalogue: Catalogue, provider: Provider, secrets: MergedSecrets
) -> StoredSecret | None:
    """The secret that authenticates at `provider`: its own names first, in their order.

    Then names shared between vendors, on the workspace itself before tenant-wide. None of
    them counts when it is another vendor's.
    """
    if not provider.meets(secrets.present):
        return None
    shared = catalogue.names.shared
    rows = [secrets.by_key[name] for name in provider.auth_env if name in secrets.present]
    own = [row for row in rows if row.key not in shared]
    for scope in (Scope.WORKSPACE, Scope.GLOBAL):
        own += [row for row in rows if row.key in shared and row.scope is scope]
    return next((row for row in own if counts_for(catalogue, provider, row, secrets)), None)


def vendor_providers(runtime: Runtime) -> tuple[Provider, ...]:
    """The runtime's own providers without the platform."""
    return tuple(provider for provider in runtime.providers if not provider.is_platform)


def any_vendor_credential(
    catalogue: Catalogue, runtime: Runtime, secrets: MergedSecrets
) -> tuple[Provider, StoredSecret] | None:
    """The first of the runtime's own vendors with a credential, and that credential."""
    for provider in vendor_providers(runtime):
        found = credential_of(catalogue, provider, secrets)
        if found is not None:
            return provider, found
    return None
