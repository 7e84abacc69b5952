"""Checks that a recipe has a way for each provider, and sends no key to another vendor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import yaml

from provision_service.catalogue.catalogue import Provider
from provision_service.catalogue.document import Reader
from provision_service.catalogue.recipe import Recipe, Way

# The names under which `domain/environment.py` sets the platform's key.
_PLATFORM_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")


def check_recipe(
    reader: Reader, node: yaml.Node, what: str, recipe: Recipe, offered: tuple[Provider, ...]
) -> None:
    """Blame `node` for everything that does not fit; `what` names the recipe."""
    named = Counter(name for way in recipe.ways for name in way.providers)
    for name in sorted(name for name, times in named.items() if times > 1):
        reader.blame(node, f"two ways for `{name}` in {what}", "keep one of them")
    if sum(not way.providers for way in recipe.ways) > 1:
        reader.blame(node, f"two ways without `for` in {what}", "keep one of them")
    for provider in offered:
        way = recipe.way_for(provider.name)
        if way is None:
            reader.blame(
                node,
                f"{what} has no way for provider `{provider.name}`",
                "add one, or a way without `for`, which is for every other provider",
            )
            continue
        for name, vendor in _sent_elsewhere(recipe, way, provider):
            reader.blame(
                node,
                f"{what} leaves the key of `{provider.name}` under `{name}`, which the program"
                f" sends to {vendor}",
                "give that way a `key` that it does not send elsewhere",
            )


def _sent_elsewhere(recipe: Recipe, way: Way, provider: Provider) -> Iterator[tuple[str, str]]:
    elsewhere = {read.name: read.vendor for read in recipe.reads}
    own = _PLATFORM_KEYS if provider.is_platform else provider.auth_env
    for name in (way.key,) if way.key is not None else own:
        vendor = elsewhere.get(name)
        if vendor not in (None, provider.owner):
            yield name, str(vendor)
