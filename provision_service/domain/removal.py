"""Which secrets of a tenant do not reach the box, and the rule in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from provision_service.catalogue.catalogue import Catalogue, Provider
from provision_service.domain.billing import BillingMode
from provision_service.domain.credentials import accepted_globally
from provision_service.domain.endpoints import leads_to_any
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import StoredSecret

PARENT_ID: Final = "PARENT_ID"


@dataclass(frozen=True, slots=True)
class RemovalRules:
    """The rules of one launch, ready to be asked for each of its secrets.

    `unwanted_globally` are the bypass credentials that are dropped at global scope.
    """

    catalogue: Catalogue
    platform_pays: bool
    bypass: frozenset[str]
    unwanted_globally: frozenset[str]
    proxy_addresses: tuple[str, ...]

    def why_removed(self, row: StoredSecret) -> str | None:  # noqa: PLR0911 -- a rule a line
        """Why this secret does not reach the box; None when it does, as it is."""
        key = row.key
        if key == PARENT_ID:
            return "comes from the spec only"
        if not self.catalogue.has_a_rule(key):
            return None
        names = self.catalogue.names
        if key in names.retired:
            return "a retired way to choose a model: never emitted"
        if self.catalogue.is_closed(key, row.scope):
            return "not a tenant's to set"
        if row.value is not None and row.value.is_blank():
            # A client that finds the name set would use the blank, not the credential.
            return "is blank, which counts as absent"
        if key in names.endpoints:
            return self._why_endpoint_removed(row)
        if self.platform_pays and key in self.bypass:
            return "would route around the metered proxy"
        if row.scope is Scope.GLOBAL and key in self.unwanted_globally:
            return "a tenant-wide credential that the resolved provider does not accept"
        return None

    def _why_endpoint_removed(self, row: StoredSecret) -> str | None:
        if self.platform_pays:
            return "would route around the metered proxy"
        url = row.value.reveal() if row.value is not None else ""
        if leads_to_any(url, self.proxy_addresses):
            return "points at the platform's proxy, which this workspace does not use"
        return None


def removal_rules(
    catalogue: Catalogue,
    *,
    runtime: str,
    mode: BillingMode,
    provider: Provider | None,
    platform: PlatformProxy,
) -> RemovalRules:
    """The rules for one launch: the mode and the resolved provider decide them."""
    bypass = catalogue.bypass_credentials(runtime)
    unwanted: frozenset[str] = frozenset()
    if mode is BillingMode.BYOK and provider is not None:
        unwanted = bypass - _accepted(catalogue, runtime, provider)
    return RemovalRules(
        catalogue,
        mode is BillingMode.PLATFORM_MANAGED,
        bypass,
        unwanted,
        platform.addresses(),
    )


def _accepted(catalogue: Catalogue, runtime: str, provider: Provider) -> frozenset[str]:
    # An own key over a platform model pays through any vendor of the runtime.
    if provider.is_platform:
        return accepted_globally(catalogue, catalogue.runtimes[runtime])
    return catalogue.accepted(provider, Scope.GLOBAL)
