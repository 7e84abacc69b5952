"""Whom a launch goes to, with which credential, and how its model is called there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from provision_service.catalogue.catalogue import (
    PLATFORM,
    USAGE_TOKEN_ENV,
    Catalogue,
    Provider,
    Runtime,
)
from provision_service.catalogue.recipe import Filling, Way
from provision_service.domain.billing import BillingMode
from provision_service.domain.credentials import any_vendor_credential, credential_of
from provision_service.domain.plan import ORIGIN_OF_SCOPE, Origin, Variable
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.secrets import MergedSecrets, StoredSecret

# An address that needs no escaping between quotes, so that a file can refer to its variable.
_PLAIN_URL: Final = re.compile(r"https?://[^\s\"'\\\\$]+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a launch goes; `name` is the tenant's variable that says so, empty if none does."""

    url: str = field(repr=False)
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """The provider a launch goes to and what it pays with.

    `credential` is the tenant's row, None where the platform pays; `name` is what the key
    is stored under. `assumed`: the model derived nothing and the first of the runtime's
    vendors with a credential was taken. `model_id` is the vendor's own id.
    """

    provider: Provider
    credential: StoredSecret | None
    name: str
    key: Variable | None
    assumed: bool
    model_id: str
    way: Way | None

    @property
    def model(self) -> str:
        """The model as the program spells it; the vendor's own id without a recipe."""
        if self.way is None:
            return self.model_id
        return Filling({}, {"id": self.model_id}).plain(self.way.model)

    def endpoint(
        self, platform: PlatformProxy, workspace_id: str, variables: Mapping[str, Variable]
    ) -> Endpoint:
        """The address the program is pointed at; empty when nobody knows one."""
        way, provider = self.way, self.provider
        if way is None:
            return Endpoint("")
        if provider.is_platform:
            url = platform.address(anthropic=way.dialect_anthropic, workspace_id=workspace_id)
            return Endpoint(url)
        for name in way.endpoint_from:
            if name in variables and _PLAIN_URL.fullmatch(variables[name].value.reveal()):
                return Endpoint(variables[name].value.reveal(), name)
        own = provider.anthropic_base_url if way.dialect_anthropic else provider.base_url
        url = way.endpoint or own or ""
        return Endpoint(url.removesuffix("/v1") if way.dialect_anthropic else url)


def payer_of(
    catalogue: Catalogue,
    *,
    runtime: Runtime | None,
    mode: BillingMode,
    derived: Provider | None,
    model: str,
    secrets: MergedSecrets,
    platform: PlatformProxy,
) -> Payer | None:
    """Who is asked and paid; None without an LLM, a known runtime or a credential."""
    if runtime is None or mode is BillingMode.DISABLED:
        return None
    credential: StoredSecret | None = None
    key: Variable | None = None
    if mode is BillingMode.PLATFORM_MANAGED:
        provider = catalogue.providers.get(PLATFORM)
        if provider is None or platform.usage_token is None:
            return None
        key = Variable(platform.usage_token, Origin.PLATFORM)
    else:
        found = _own(catalogue, runtime, derived, secrets)
        if found is None:
            return None
        provider, credential = found
        if credential.value is not None:
            key = Variable(credential.value, ORIGIN_OF_SCOPE[credential.scope])
    recipe = runtime.recipe
    return Payer(
        provider=provider,
        credential=credential,
        name=credential.key if credential is not None else USAGE_TOKEN_ENV,
        key=key,
        assumed=derived is None,
        model_id=derived.vendors_id(model) if derived is not None else model,
        way=recipe.way_for(provider.name) if recipe is not None else None,
    )


def _own(
    catalogue: Catalogue, runtime: Runtime, derived: Provider | None, secrets: MergedSecrets
) -> tuple[Provider, StoredSecret] | None:
    if derived is None:
        return any_vendor_credential(catalogue, runtime, secrets)
    if derived.is_platform:
        return None
    credential = credential_of(catalogue, derived, secrets)
    return None if credential is None else (derived, credential)
