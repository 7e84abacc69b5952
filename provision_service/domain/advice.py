"""What to change, in words: the nearest model on a menu, the credential to add, the other payer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

from provision_service.catalogue.catalogue import Catalogue, Offering, Provider, Runtime
from provision_service.catalogue.derivation import Derivation
from provision_service.domain.billing import BillingMode, ModeChoice
from provision_service.domain.credentials import credential_of
from provision_service.domain.secrets import MergedSecrets, StoredSecret

_WORD: Final = re.compile(r"[a-z]+|[0-9]+")


@lru_cache(maxsize=4096)
def _words(model: str) -> frozenset[str]:
    tail = re.split(r"[/:]", model)[-1]
    return frozenset(_WORD.findall(tail.lower()))


def nearest(model: str, candidates: Iterable[str]) -> str | None:
    """The candidate that shares most words with `model`; the first of equals."""
    words = _words(model)
    best, best_score = None, -1
    for candidate in candidates:
        score = len(words & _words(candidate))
        if score > best_score:
            best, best_score = candidate, score
    return best


def nearest_names(
    runtime: Runtime | None, provider: Provider | None, model: str
) -> tuple[str, ...]:
    """Up to three ids that look most like `model`: of the provider's menu, else of any."""
    offerings = runtime.offerings if runtime is not None else ()
    own = [
        name
        for offering in offerings
        if offering.provider is provider
        for name in menu_of(offering)
    ]
    every = own or [name for offering in offerings for name in menu_of(offering)]
    close = get_close_matches(model.lower(), [name.lower() for name in every], n=3, cutoff=0.4)
    by_lower = {name.lower(): name for name in reversed(every)}
    return tuple(by_lower[name] for name in close)


def menu_of(offering: Offering) -> Iterator[str]:
    """The ids that an offering still offers."""
    return (model.id for model in offering.models if not model.withdrawn)


def wanted_name(catalogue: Catalogue, provider: Provider) -> str:
    """The one credential name to recommend for a provider."""
    return next(iter(catalogue.own_names(provider) or provider.auth_env))


def servable_now(
    catalogue: Catalogue, runtime: Runtime, model: str, secrets: MergedSecrets
) -> tuple[str, StoredSecret] | None:
    """The nearest menu model of a vendor whose credential is there, with that credential."""
    credentials: dict[str, StoredSecret] = {}
    for offering in runtime.offerings:
        if offering.provider.is_platform:
            continue
        credential = credential_of(catalogue, offering.provider, secrets)
        if credential is not None:
            for model_id in menu_of(offering):
                credentials.setdefault(model_id, credential)
    best = nearest(model, credentials)
    return None if best is None else (best, credentials[best])


def smallest_change(
    catalogue: Catalogue,
    *,
    runtime: Runtime | None,
    model: str,
    choice: ModeChoice,
    derivation: Derivation | None,
    secrets: MergedSecrets,
    platform_model: str = "",
) -> str:
    """The smallest change after which somebody else would pay.

    `platform_model` is the platform's model id that an override bills to the tenant, else empty.
    """
    if platform_model:
        derives = BillingMode.PLATFORM_MANAGED
        return f"clear the billing override: `{platform_model}` then derives {derives}"
    if derivation is None:
        return "no change here gives another payer: choose a runtime of the catalogue"
    if runtime is None:
        return f"choose a runtime of the catalogue: {', '.join(catalogue.runtimes)}"
    derived = _derived_mode(derivation)
    if choice.override is not None and derived is not None and derived is not choice.mode:
        return f"clear the billing override: `{model}` then derives {derived}"
    if choice.mode is BillingMode.BYOK:
        return _to_platform(runtime, model, choice, servable=derived is not None)
    return _to_own_key(catalogue, runtime, model, choice, secrets)


def _derived_mode(derivation: Derivation) -> BillingMode | None:
    if derivation.provider is None:
        return None
    platform = derivation.provider.is_platform
    return BillingMode.PLATFORM_MANAGED if platform else BillingMode.BYOK


def _to_platform(runtime: Runtime, model: str, choice: ModeChoice, *, servable: bool) -> str:
    menus = (menu_of(offering) for offering in runtime.offerings if offering.provider.is_platform)
    best = nearest(model, (model_id for menu in menus for model_id in menu))
    if best is None or (choice.override is not None and servable):
        return "set the billing override to `platform_managed`"
    first = "clear the billing override and " if choice.override is not None else ""
    return f"{first}use `{best}`, which the platform serves and pays"


def _to_own_key(
    catalogue: Catalogue,
    runtime: Runtime,
    model: str,
    choice: ModeChoice,
    secrets: MergedSecrets,
) -> str:
    if choice.override is not None:
        return "set the billing override to `byok`, or clear it and choose a vendor's model"
    servable = servable_now(catalogue, runtime, model, secrets)
    if servable is not None:
        best, credential = servable
        return f"with your {credential.key} use `{best}`"
    offered: dict[str, Provider] = {}
    for offering in runtime.offerings:
        if not offering.provider.is_platform:
            for model_id in menu_of(offering):
                offered.setdefault(model_id, offering.provider)
    nearest_offered = nearest(model, offered)
    if nearest_offered is None:
        return "set the billing override to `byok` and add a credential of the runtime's vendors"
    name = wanted_name(catalogue, offered[nearest_offered])
    return f"use `{nearest_offered}` and add {name}"
