"""Which secrets of a tenant do not reach the box, and the rule in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from provision_service.catalogue.catalogue import Catalogue, Provider
from provision_service.catalogue.recipe import Routes
from provision_service.domain.billing import BillingMode
from provision_service.domain.credentials import credential_of
from provision_service.domain.endpoints import leads_to_any
from provision_service.domain.ownership import counts_for, owner_of
from provision_service.domain.plan import RemovalCode, Removed
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import MergedSecrets, StoredSecret

PARENT_ID: Final = "PARENT_ID"
_AROUND_THE_PROXY: Final = "would route around the metered proxy"
# A header that carries a credential, or sends the request to another host of the same address.
_TELLING_HEADER: Final = re.compile(
    r"(?im)^\s*(host|[^:\s]*(auth[^:\s]*|cookie|key|token|secret|password))\s*:"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalRules:
    """The rules of one launch, ready to be asked for each of its secrets.

    `provider` is the resolved one; with None no credential is removed as another vendor's. `paid`
    is the provider that gets the key: the resolved one, or the one that is assumed where the model
    derives nothing. `pays_with` is the name of the credential that pays, empty if there is none.
    `model_names` are the spellings of the resolved model.
    """

    catalogue: Catalogue
    runtime: str
    mode: BillingMode
    provider: Provider | None
    paid: Provider | None
    pays_with: str
    secrets: MergedSecrets
    platform: PlatformProxy
    model_names: frozenset[str]
    routes: Routes
    bypass: frozenset[str]
    endpoints: frozenset[str]

    def removal(self, row: StoredSecret) -> Removed | None:
        """Why this secret does not reach the box; None when it does, as it is."""
        if row.key != PARENT_ID and not self.catalogue.has_a_rule(row.key):
            return None
        return next(self._removals(row), None)

    def _removals(self, row: StoredSecret) -> Iterator[Removed]:
        removed = partial(Removed, row.key, row.scope)
        names = self.catalogue.names
        if row.key == PARENT_ID:
            yield removed("comes from the spec only")
        if row.key in names.retired:
            yield removed("a retired way to choose a model: never emitted")
        if self.catalogue.is_closed(row.key, row.scope):
            yield removed("not a tenant's to set")
        if row.value is not None and row.value.is_blank():
            # A client that finds the name set would use the blank, not the credential.
            yield removed("is blank, which counts as absent")
        why_route = self.why_route_removed(row)
        if why_route is not None:
            yield removed(why_route, RemovalCode.ROUTE, self.runtime, "delete it")
        if row.key in self.endpoints:
            yield from self._endpoint(row)
        if row.key in self.bypass and self.mode is BillingMode.PLATFORM_MANAGED:
            yield removed(_AROUND_THE_PROXY)
        if row.key in self.bypass and self.mode is BillingMode.DISABLED:
            yield removed("the billing override says that there is no LLM here")
        if self._is_unwanted(row):
            yield removed("a tenant-wide credential that the resolved provider does not accept")

    def why_route_removed(self, row: StoredSecret) -> str | None:  # noqa: PLR0911 -- a rule a line
        """Why this name would lead the program elsewhere; None when it does not."""
        value = row.value.reveal() if row.value is not None else ""
        names, pays = self.catalogue.names, self.mode is BillingMode.PLATFORM_MANAGED
        if row.key in names.tls_switches:
            return "would switch off the check of TLS certificates"
        if row.key in names.proxies and pays:
            return "would show the platform's key to another host"
        if row.key in self.routes.switches:
            return f"would lead {self.runtime} to another endpoint, vendor or set of settings"
        if row.key in self.routes.models and value.strip() not in self.model_names:
            return f"would give {self.runtime} another model than the resolved one"
        if row.key not in self.routes.headers:
            return None
        if self.mode is not BillingMode.BYOK:
            return f"would add headers of its own to what {self.runtime} sends"
        if _TELLING_HEADER.search(value):
            return "carries a credential or a host of its own in a header"
        return None

    def _endpoint(self, row: StoredSecret) -> Iterator[Removed]:
        removed = partial(Removed, row.key, row.scope)
        url = row.value.reveal() if row.value is not None else ""
        if self.mode is BillingMode.PLATFORM_MANAGED:
            yield removed(_AROUND_THE_PROXY)
        elif leads_to_any(url, self.platform.addresses()):
            yield removed("points at the platform's proxy, which this workspace does not use")
        vendors = self.catalogue.vendors_at(url)
        if self.paid is not None and self._is_foreign(self.paid, vendors):
            whose = ", ".join(sorted(vendors))
            pays = self.pays_with or "what pays"
            yield removed(
                f"is {whose}'s endpoint, and {pays} is {self.paid.owner}'s",
                RemovalCode.FOREIGN_ENDPOINT,
                pays,
                f"delete it, or choose a model of {whose}",
            )

    def _is_foreign(self, provider: Provider, vendors: frozenset[str]) -> bool:
        """Whether an endpoint of these vendors is not for the credential of `provider`.

        A provider that belongs to no vendor is reached at whatever endpoint the tenant sets, unless
        the credential that pays is a vendor's own.
        """
        if not vendors or provider.owner in vendors:
            return False
        return provider.vendor is not None or not self._pays_with_nobodys_key(provider)

    def _pays_with_nobodys_key(self, provider: Provider) -> bool:
        mine = credential_of(self.catalogue, provider, self.secrets)
        if mine is None or owner_of(self.catalogue, mine, self.secrets) is not None:
            return True
        others = (p for p in self.catalogue.providers.values() if p.vendor is not None)
        return not any(mine.key in self.catalogue.own_names(p) for p in others)

    def _is_unwanted(self, row: StoredSecret) -> bool:
        if self.mode is not BillingMode.BYOK or self.provider is None:
            return False
        if row.scope is not Scope.GLOBAL or row.key not in self.bypass:
            return False
        return not counts_for(self.catalogue, self.provider, row, self.secrets)


def removal_rules(
    catalogue: Catalogue,
    *,
    runtime: str,
    mode: BillingMode,
    provider: Provider | None,
    paid: Provider | None,
    pays_with: str,
    secrets: MergedSecrets,
    platform: PlatformProxy,
    model_names: frozenset[str],
) -> RemovalRules:
    """The rules for one launch; a runtime that is not launched here keeps its credentials."""
    foreign = catalogue.has_no_entry_by_design(runtime)
    return RemovalRules(
        catalogue=catalogue,
        runtime=runtime,
        mode=mode,
        provider=provider,
        paid=paid,
        pays_with=pays_with,
        secrets=secrets,
        platform=platform,
        model_names=model_names,
        routes=catalogue.routes(runtime),
        bypass=frozenset() if foreign else catalogue.bypass_credentials(runtime),
        endpoints=catalogue.endpoint_names(runtime),
    )
