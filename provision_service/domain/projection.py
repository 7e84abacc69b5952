"""A tenant's own credential, put where an anthropic-native runtime looks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentworkspace.core.secret import Secret
from provision_service.catalogue.catalogue import Catalogue, Provider
from provision_service.domain.plan import ORIGIN_OF_SCOPE, Origin, Variable
from provision_service.domain.secrets import StoredSecret

BASE_URL: Final = "ANTHROPIC_BASE_URL"


def project(
    catalogue: Catalogue,
    provider: Provider,
    credential: StoredSecret,
    variables: Mapping[str, Variable],
) -> dict[str, Variable]:
    """Variables that point the runtime at `provider` with the tenant's credential for it.

    An endpoint that the tenant set is respected; one that leads to another vendor is not
    among `variables` any more.
    """
    if credential.value is None:
        return {}
    chosen_by_tenant = BASE_URL in variables
    projected: dict[str, Variable] = {}
    if not chosen_by_tenant and provider.anthropic_base_url is not None:
        url = provider.anthropic_base_url.removesuffix("/v1")
        projected[BASE_URL] = Variable(Secret(url), Origin.DERIVED)
    if chosen_by_tenant or projected or provider.auth_token_env in catalogue.own_names(provider):
        origin = ORIGIN_OF_SCOPE[credential.scope]
        projected[provider.auth_token_env] = Variable(credential.value, origin)
    return projected
