"""Whose credential a stored value is: one credential belongs to one vendor, whatever its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from provision_service.catalogue.catalogue import Catalogue, Provider
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import MergedSecrets, StoredSecret

ANTHROPIC: Final = "anthropic"
ANTHROPIC_PREFIX: Final = "sk-ant-"
# In StoredSecret.provider: nobody said whose it is, and it counts for whoever accepts it.
ANYONE: Final = "*"


def owner_of(catalogue: Catalogue, row: StoredSecret, secrets: MergedSecrets) -> str | None:
    """The vendor that this credential is for; None: whoever accepts its name.

    A value of Anthropic's form is Anthropic's. Else what its writer said counts. A name that
    vendors share is Anthropic's, unless the workspace itself set an endpoint of one other
    vendor beside it.
    """
    if row.value is not None and row.value.reveal().lstrip().startswith(ANTHROPIC_PREFIX):
        return ANTHROPIC
    if row.provider == ANYONE:
        return None
    if row.provider:
        return said_owner(catalogue, row.provider)
    if row.key not in catalogue.names.shared:
        return None
    if row.scope is Scope.WORKSPACE:
        beside = _vendors_of_own_endpoints(catalogue, secrets)
        if len(beside) == 1:
            return next(iter(beside))
    return ANTHROPIC


def unsaid_as_anyones(catalogue: Catalogue, secrets: MergedSecrets) -> MergedSecrets:
    """The same secrets, where a workspace's own one under a shared name counts for whoever accepts
    the name while nobody said whose it is. That was the rule before there was a way to say it.
    """
    shared = catalogue.names.shared & secrets.present_at_workspace
    unsaid = {name for name in shared if not secrets.by_key[name].provider}
    if not unsaid:
        return secrets
    return MergedSecrets(
        {
            key: replace(row, provider=ANYONE) if key in unsaid else row
            for key, row in secrets.by_key.items()
        }
    )


def said_owner(catalogue: Catalogue, said: str) -> str:
    """The vendor meant by a provider's or a vendor's name."""
    provider = catalogue.providers.get(said)
    return provider.owner if provider is not None else said


def counts_for(
    catalogue: Catalogue, provider: Provider, row: StoredSecret, secrets: MergedSecrets
) -> bool:
    """Whether this row authenticates at `provider`: accepted under its name, and its own."""
    if row.key not in catalogue.accepted(provider, row.scope):
        return False
    owner = owner_of(catalogue, row, secrets)
    return owner is None or owner == provider.owner


def uncounted(
    catalogue: Catalogue, provider: Provider, secrets: MergedSecrets
) -> tuple[StoredSecret, ...]:
    """Rows under an accepted name that do not authenticate at `provider`."""
    rows = (secrets.by_key[name] for name in provider.auth_env if name in secrets.present)
    return tuple(row for row in rows if not counts_for(catalogue, provider, row, secrets))


def why_not_counted(
    catalogue: Catalogue, provider: Provider, row: StoredSecret, secrets: MergedSecrets
) -> str:
    """Why a present row is no credential of `provider`, and what to do if it is one."""
    if row.scope is Scope.GLOBAL and row.key in catalogue.names.shared:
        return "a shared name set tenant-wide counts for Anthropic's own API only"
    owner = owner_of(catalogue, row, secrets) or "another vendor"
    if row.value is not None and row.value.reveal().lstrip().startswith(ANTHROPIC_PREFIX):
        return f"{row.key} holds a key of {ANTHROPIC}, by its beginning `{ANTHROPIC_PREFIX}`"
    return (
        f"{row.key} counts as a credential of {owner}: if it is one of {provider.owner}, say so"
        f" with provider `{provider.name}` (SetWorkspaceSecret, or `workspacectl secrets"
        " assign-provider`)"
    )


def _vendors_of_own_endpoints(catalogue: Catalogue, secrets: MergedSecrets) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for name in catalogue.names.endpoints & secrets.present_at_workspace:
        found |= catalogue.vendors_at(secrets.text(name))
    return found
