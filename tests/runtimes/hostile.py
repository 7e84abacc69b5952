"""A tenant who tries everything: each name that could lead a program astray, at both scopes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

from tests.runtimes.cases import MANAGED, Case
from tests.runtimes.further import edited_catalogue
from tests.runtimes.lures import LURES, STRANGER, STRAY

# How a value has to look for the program to take it up.
_KINDS: Final = (
    (("_URL", "_HOST", "_BASE", "_ENDPOINT", "_SOCKET"), STRANGER),
    (("_MODEL",), "stray-model"),
    (("_KEY", "_TOKEN"), STRAY),
    (("_JSON",), f'{{"OPENAI_API_KEY": "{STRAY}"}}'),
    (("_PROXY", "_proxy"), STRANGER.replace("https", "http")),
)


def catalogue() -> dict[str, Any]:
    """The catalogue as it is written, so that a name that it forgets to use shows up."""
    document: dict[str, Any] = yaml.safe_load(edited_catalogue())
    return document


def temptations(document: Mapping[str, Any], case: Case) -> dict[str, str]:
    """Every such name of this runtime with a value; those of lures have the one that bites.

    Where the tenant pays, endpoints and proxies are its own to choose.
    """
    environment = document["environment"]
    routes = routes_of(document, case.runtime)
    own_to_choose = {*environment["endpoints"], *environment["proxies"], *routes["endpoints"]}
    names = {
        *(name for kind in routes.values() for name in kind),
        *credentials_of(document, case.runtime),
        *environment["tls_switches"],
        *own_to_choose,
    }
    found = {name: _value(name) for name in sorted(names)}
    for lure in LURES:
        if lure.runtime == case.runtime:
            found |= lure.variables
    if case.mode != MANAGED:
        found = {name: value for name, value in found.items() if name not in own_to_choose}
    return {name: value for name, value in found.items() if name not in case.rather}


def routes_of(document: Mapping[str, Any], runtime: str) -> dict[str, list[str]]:
    """The route names of a runtime by their kind; the variables of its directories are switches."""
    recipe = _recipe(document, runtime)
    kinds = ("switches", "models", "headers", "endpoints")
    routes = {kind: list(recipe.get("routes", {}).get(kind, ())) for kind in kinds}
    routes["switches"] += [directory["env"] for directory in recipe.get("directories", ())]
    return routes


def credentials_of(document: Mapping[str, Any], runtime: str) -> Iterable[str]:
    """Whatever carries a vendor's credential, or is read by this program as one."""
    reads = _recipe(document, runtime).get("reads", ())
    environment = document["environment"]
    every = {name for provider in document["providers"] for name in provider["auth_env"]}
    every |= {read if isinstance(read, str) else read["name"] for read in reads}
    return sorted({*every, *environment["extra_credentials"]} - {"MOLECULE_LLM_USAGE_TOKEN"})


def _recipe(document: Mapping[str, Any], runtime: str) -> Mapping[str, Any]:
    (found,) = (each for each in document["runtimes"] if each["name"] == runtime)
    recipe: Mapping[str, Any] = found["recipe"]
    return recipe


def _value(name: str) -> str:
    return next((value for endings, value in _KINDS if name.endswith(endings)), "1")
