"""From the text of a catalogue file to a Catalogue, or to every reason why not."""

from __future__ import annotations

import hashlib
from typing import Final

import yaml

from provision_service.catalogue.catalogue import Catalogue, Provider
from provision_service.catalogue.document import CatalogueInvalid, Reader
from provision_service.catalogue.names import read_environment_names
from provision_service.catalogue.providers import ReadProvider, read_providers
from provision_service.catalogue.runtimes import ReadRuntime, read_runtimes

SCHEMA_VERSION: Final = 1
TOP_KEYS: Final = frozenset(
    {
        "schema",
        "version",
        "default_runtime",
        "runtimes_without_entry",
        "environment",
        "providers",
        "runtimes",
    }
)
WITHOUT_ENTRY_KEYS: Final = frozenset({"external_like", "virtual"})
_DIGEST_LENGTH: Final = 12


def parse_catalogue(text: str, *, file: str) -> Catalogue:
    """Parse and check a catalogue; raises CatalogueInvalid naming file, line and remedy.

    `file` is the name that problems show. The version of the result is the file's own
    label with a digest of the text, so that two texts never share a version.
    """
    reader = Reader(file)
    root = reader.compose(text)
    if root is None:
        raise CatalogueInvalid(reader.problems)
    entries = reader.mapping(root, "the catalogue", required=TOP_KEYS, optional=frozenset())
    _check_schema(reader, entries.get("schema"))
    label = reader.text(entries.get("version"), "version")
    providers = read_providers(reader, entries.get("providers"))
    names = read_environment_names(reader, entries.get("environment"), providers)
    without = _without_entry(reader, entries.get("runtimes_without_entry"))
    runtimes = read_runtimes(reader, entries.get("runtimes"), providers, without)
    default_runtime = _default_runtime(reader, entries.get("default_runtime"), runtimes, without)
    if reader.problems or names is None:
        raise CatalogueInvalid(reader.problems)
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
    return Catalogue(
        version=f"{label}+{digest}",
        providers=_providers(providers),
        runtimes={name: read.runtime for name, read in runtimes.items()},
        names=names,
        external_like=frozenset(n for n, kind in without.items() if kind == "external_like"),
        virtual=frozenset(n for n, kind in without.items() if kind == "virtual"),
        default_runtime=default_runtime,
    )


def _providers(read: dict[str, ReadProvider]) -> dict[str, Provider]:
    return {name: entry.provider for name, entry in read.items()}


def _check_schema(reader: Reader, node: yaml.Node | None) -> None:
    number = reader.integer(node, "schema")
    if node is not None and number is not None and number != SCHEMA_VERSION:
        reader.blame(
            node,
            f"schema {number} is not supported",
            f"write the file in schema {SCHEMA_VERSION}",
        )


def _without_entry(reader: Reader, node: yaml.Node | None) -> dict[str, str]:
    if node is None:
        return {}
    kinds = reader.mapping(
        node, "runtimes_without_entry", required=WITHOUT_ENTRY_KEYS, optional=frozenset()
    )
    found: dict[str, str] = {}
    for kind, list_node in kinds.items():
        for name, name_node in reader.texts(list_node, kind).items():
            if name in found:
                reader.blame(name_node, f"runtime `{name}` stands in both lists", "keep one")
            found[name] = kind
    return found


def _default_runtime(
    reader: Reader,
    node: yaml.Node | None,
    runtimes: dict[str, ReadRuntime],
    without: dict[str, str],
) -> str:
    name = reader.text(node, "default_runtime")
    if node is not None and name and name not in runtimes and name not in without:
        reader.blame(node, f"default_runtime `{name}` is no runtime", "name one of the runtimes")
    return name
