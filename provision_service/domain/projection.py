"""A tenant's own credential, put where an anthropic-native runtime looks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agentworkspace.core.secret import Secret
from provision_service.catalogue.catalogue import Catalogue, Provider
from provision_service.domain.credentials import credential_of
from provision_service.domain.plan import ORIGIN_OF_SCOPE, Origin, Removed, Variable
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import MergedSecrets, StoredSecret

BASE_URL: Final = "ANTHROPIC_BASE_URL"


@dataclass(frozen=True, slots=True)
class Projection:
    """Variables to set over the tenant's secrets, and an endpoint taken out, if any."""

    variables: dict[str, Variable]
    removed: Removed | None


def project(
    catalogue: Catalogue,
    provider: Provider,
    secrets: MergedSecrets,
    variables: dict[str, Variable],
) -> Projection:
    """Point the runtime at `provider` with the tenant's credential for it.

    An endpoint that the tenant set is respected, unless it is another vendor's own while
    the credential is known to be this one's: no credential travels to another vendor.
    A shared name is this one's too, unless the workspace itself pairs it with an endpoint.
    """
    credential = credential_of(catalogue, provider, secrets)
    if credential is None or credential.value is None:
        return Projection({}, None)
    removed = _foreign_endpoint(catalogue, provider, credential, secrets, variables)
    chosen_by_tenant = removed is None and BASE_URL in variables
    projected: dict[str, Variable] = {}
    if not chosen_by_tenant and provider.anthropic_base_url is not None:
        url = provider.anthropic_base_url.removesuffix("/v1")
        projected[BASE_URL] = Variable(Secret(url), Origin.DERIVED)
    if chosen_by_tenant or projected or provider.auth_token_env in catalogue.own_names(provider):
        origin = ORIGIN_OF_SCOPE[credential.scope]
        projected[provider.auth_token_env] = Variable(credential.value, origin)
    return Projection(projected, removed)


def rivals_of(
    catalogue: Catalogue, credential: StoredSecret, variables: Mapping[str, Variable]
) -> tuple[str, ...]:
    """Shared names in an environment that hold another credential than the one that pays.

    Claude Code sends ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN side by side, each in a header
    of its own, and either of them rather than a subscription.
    """
    return tuple(
        name
        for name in sorted(catalogue.names.shared)
        if name in variables and variables[name].value != credential.value
    )


def _foreign_endpoint(
    catalogue: Catalogue,
    provider: Provider,
    credential: StoredSecret,
    secrets: MergedSecrets,
    variables: dict[str, Variable],
) -> Removed | None:
    endpoint = secrets.by_key.get(BASE_URL)
    if endpoint is None or endpoint.value is None or BASE_URL not in variables:
        return None
    paired_by_tenant = (
        credential.key in catalogue.names.shared
        and credential.scope is Scope.WORKSPACE
        and endpoint.scope is Scope.WORKSPACE
    )
    vendors = catalogue.vendors_at(endpoint.value.reveal())
    if paired_by_tenant or not vendors or provider.vendor is None or provider.vendor in vendors:
        return None
    why = f"is {', '.join(sorted(vendors))}'s endpoint, and {credential.key} is {provider.vendor}'s"
    return Removed(BASE_URL, endpoint.scope, why)
