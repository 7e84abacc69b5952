"""Reading the runtimes of a catalogue and their menus, against its providers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import yaml

from provision_service.catalogue.catalogue import MenuModel, Offering, Runtime
from provision_service.catalogue.document import Reader
from provision_service.catalogue.providers import NAME, NAME_REMEDY, ReadProvider
from provision_service.catalogue.recipe import Recipe
from provision_service.catalogue.recipes import RecipeReader
from provision_service.domain.environment_names import is_environment_name, is_reserved

RUNTIME_REQUIRED: Final = frozenset({"name", "providers"})
RUNTIME_OPTIONAL: Final = frozenset(
    {"default_model", "anthropic_native_proxy", "extra_model_env", "recipe"}
)
OFFERING_REQUIRED: Final = frozenset({"name"})
OFFERING_OPTIONAL: Final = frozenset({"models"})
MODEL_REQUIRED: Final = frozenset({"id"})
MODEL_OPTIONAL: Final = frozenset({"withdrawn"})


@dataclass(frozen=True, slots=True)
class ReadRuntime:
    """A runtime with the node it was read from."""

    runtime: Runtime
    node: yaml.Node


def read_runtimes(
    reader: Reader,
    node: yaml.Node | None,
    providers: dict[str, ReadProvider],
    without_entry: dict[str, str],
) -> dict[str, ReadRuntime]:
    """Every runtime that has a name, by that name; a repeated name is a problem."""
    found: dict[str, ReadRuntime] = {}
    for item in reader.items(node, "runtimes"):
        runtime = _read_runtime(reader, item, providers)
        if runtime is None:
            continue
        if runtime.name in found:
            reader.blame(item, f"a second runtime `{runtime.name}`", "rename or remove one")
        elif runtime.name in without_entry:
            reader.blame(
                item,
                f"runtime `{runtime.name}` also stands in runtimes_without_entry",
                "keep it in one place",
            )
        else:
            found[runtime.name] = ReadRuntime(runtime, item)
    return found


def _read_runtime(
    reader: Reader, node: yaml.Node, providers: dict[str, ReadProvider]
) -> Runtime | None:
    entries = reader.mapping(
        node, "a runtime", required=RUNTIME_REQUIRED, optional=RUNTIME_OPTIONAL
    )
    name = reader.text(entries.get("name"), "a runtime's name")
    if not name:
        return None
    what = f"runtime `{name}`"
    if NAME.fullmatch(name) is None:
        reader.blame(entries["name"], f"`{name}` is not a runtime name", NAME_REMEDY)
    offerings = _offerings(reader, entries.get("providers"), providers, what)
    runtime = Runtime(
        name=name,
        offerings=offerings,
        default_model=reader.text_or_null(entries.get("default_model"), f"default_model of {what}"),
        anthropic_native_proxy=reader.boolean(
            entries.get("anthropic_native_proxy"), f"anthropic_native_proxy of {what}"
        ),
        extra_model_env=_extra_model_env(reader, entries.get("extra_model_env"), what),
        recipe=_recipe(reader, entries.get("recipe"), offerings, providers, what),
    )
    _check_default_model(reader, runtime, entries.get("default_model"))
    return runtime


def _recipe(
    reader: Reader,
    node: yaml.Node | None,
    offerings: tuple[Offering, ...],
    providers: dict[str, ReadProvider],
    what: str,
) -> Recipe | None:
    if node is None:
        return None
    every = [read.provider for read in providers.values()]
    recipes = RecipeReader(
        reader,
        f"the recipe of {what}",
        vendors=frozenset(provider.owner for provider in every),
        credentials=frozenset(name for provider in every for name in provider.auth_env),
    )
    return recipes.read(node, tuple(offering.provider for offering in offerings))


def _offerings(
    reader: Reader, node: yaml.Node | None, providers: dict[str, ReadProvider], what: str
) -> tuple[Offering, ...]:
    offerings: dict[str, Offering] = {}
    for item in reader.items(node, f"providers of {what}"):
        entries = reader.mapping(
            item,
            f"a provider of {what}",
            required=OFFERING_REQUIRED,
            optional=OFFERING_OPTIONAL,
        )
        name = reader.text(entries.get("name"), f"the name of a provider of {what}")
        models = _models(reader, entries.get("models"), f"models of `{name}` in {what}")
        if not name:
            continue
        if name not in providers:
            reader.blame(
                item, f"{what} names an unknown provider `{name}`", "declare it under providers"
            )
        elif name in offerings:
            reader.blame(item, f"{what} names provider `{name}` twice", "merge the two menus")
        else:
            offerings[name] = Offering(providers[name].provider, models)
    if isinstance(node, yaml.SequenceNode) and not node.value:
        reader.blame(node, f"{what} has no providers", "give it at least one")
    return tuple(offerings.values())


def _models(reader: Reader, node: yaml.Node | None, what: str) -> tuple[MenuModel, ...]:
    found: dict[str, MenuModel] = {}
    for item in reader.items(node, what):
        withdrawn = False
        id_node: yaml.Node | None = item
        if isinstance(item, yaml.MappingNode):
            entries = reader.mapping(
                item, f"an entry of {what}", required=MODEL_REQUIRED, optional=MODEL_OPTIONAL
            )
            id_node = entries.get("id")
            withdrawn = reader.boolean(entries.get("withdrawn"), f"withdrawn in {what}")
        model_id = reader.text(id_node, f"a model id in {what}")
        if model_id in found:
            reader.blame(item, f"model `{model_id}` stands twice in {what}", "keep one of them")
        elif model_id:
            found[model_id] = MenuModel(model_id, withdrawn)
    return tuple(found.values())


def _extra_model_env(reader: Reader, node: yaml.Node | None, what: str) -> str | None:
    name = reader.text_or_null(node, f"extra_model_env of {what}")
    if node is not None and name and (not is_environment_name(name) or is_reserved(name)):
        reader.blame(
            node,
            f"extra_model_env `{name}` of {what} is no free environment name",
            "use letters, digits and underscores, and none of the reserved names",
        )
    return name


def _check_default_model(reader: Reader, runtime: Runtime, node: yaml.Node | None) -> None:
    model = runtime.default_model
    if node is None or model is None or not runtime.offerings:
        return
    if not runtime.listing(model) and not runtime.matching(model):
        reader.blame(
            node,
            f"default_model `{model}` is served by no provider of runtime `{runtime.name}`",
            "put it on a menu or choose another",
        )
