"""Which of the present secrets counts as a provider's credential."""

from __future__ import annotations

from collections.abc import Iterator

from provision_service.catalogue.catalogue import Catalogue, Provider, Runtime
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import MergedSecrets, StoredSecret


def credential_of(
    catalogue: Catalogue, provider: Provider, secrets: MergedSecrets
) -> StoredSecret | None:
    """The secret that authenticates at `provider`: its own names first, in their order.

    A name shared between vendors comes after them: at workspace scope it was put there
    for this model; at global scope it counts only where the catalogue says so.
    """
    if not provider.meets(secrets.present):
        return None
    shared = catalogue.names.shared
    own = (name for name in provider.auth_env if name not in shared)
    found = _first_present(own, secrets.present, secrets)
    if found is not None:
        return found
    for scope in (Scope.WORKSPACE, Scope.GLOBAL):
        accepted = catalogue.accepted(provider, scope) & secrets.present_at(scope)
        found = _first_present(iter(provider.auth_env), accepted, secrets)
        if found is not None:
            return found
    return None


def _first_present(
    names: Iterator[str], among: frozenset[str], secrets: MergedSecrets
) -> StoredSecret | None:
    return next((secrets.by_key[name] for name in names if name in among), None)


def vendor_providers(runtime: Runtime) -> tuple[Provider, ...]:
    """The runtime's own providers without the platform."""
    return tuple(provider for provider in runtime.providers if not provider.is_platform)


def any_vendor_credential(
    catalogue: Catalogue, runtime: Runtime, secrets: MergedSecrets
) -> StoredSecret | None:
    """The first credential of any of the runtime's own vendors."""
    for provider in vendor_providers(runtime):
        found = credential_of(catalogue, provider, secrets)
        if found is not None:
            return found
    return None


def accepted_globally(catalogue: Catalogue, runtime: Runtime) -> frozenset[str]:
    """Names that at global scope count for any of the runtime's own vendors."""
    names: frozenset[str] = frozenset()
    for provider in vendor_providers(runtime):
        names |= catalogue.accepted(provider, Scope.GLOBAL)
    return names
