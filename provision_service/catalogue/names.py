"""Reading what a catalogue says of environment names, against its providers."""

from __future__ import annotations

from typing import Final

import yaml

from provision_service.catalogue.catalogue import EnvironmentNames
from provision_service.catalogue.document import Reader
from provision_service.catalogue.providers import ReadProvider
from provision_service.domain.environment_names import is_environment_name

NAMES_KEYS: Final = frozenset(
    {
        "endpoints",
        "extra_credentials",
        "dual_use",
        "shared",
        "shared_accepted_globally_by",
        "forbidden",
        "forbidden_prefixes",
        "source_host_tokens",
        "retired",
    }
)
OPTIONAL_NAMES_KEYS: Final = frozenset({"proxies", "tls_switches"})
_LISTS_OF_PROVIDERS: Final = frozenset({"shared_accepted_globally_by"})


def read_environment_names(
    reader: Reader, node: yaml.Node | None, providers: dict[str, ReadProvider]
) -> EnvironmentNames | None:
    """The environment section, each name checked for the place it must also stand in."""
    if node is None:
        return None
    entries = reader.mapping(node, "environment", required=NAMES_KEYS, optional=OPTIONAL_NAMES_KEYS)
    every = NAMES_KEYS | OPTIONAL_NAMES_KEYS
    lists = {key: reader.texts(entries.get(key), f"environment.{key}") for key in every}
    for key in sorted(every - _LISTS_OF_PROVIDERS):
        for name, name_node in lists[key].items():
            if not is_environment_name(name):
                reader.blame(
                    name_node,
                    f"`{name}` in environment.{key} is no environment name",
                    "use letters, digits and underscores",
                )
    auth_env = {name for read in providers.values() for name in read.provider.auth_env}
    _within(reader, lists["dual_use"], auth_env, "dual_use", "the auth_env of a provider")
    _within(reader, lists["shared"], auth_env, "shared", "the auth_env of a provider")
    _within(
        reader,
        lists["shared_accepted_globally_by"],
        set(providers),
        "shared_accepted_globally_by",
        "the list of providers",
    )
    _within(
        reader,
        lists["source_host_tokens"],
        set(lists["forbidden"]),
        "source_host_tokens",
        "environment.forbidden",
    )
    _check_credentials_can_be_set(reader, providers, lists)
    return EnvironmentNames(
        endpoints=frozenset(lists["endpoints"]),
        extra_credentials=frozenset(lists["extra_credentials"]),
        dual_use=frozenset(lists["dual_use"]),
        shared=frozenset(lists["shared"]),
        shared_accepted_globally_by=frozenset(lists["shared_accepted_globally_by"]),
        forbidden=frozenset(lists["forbidden"]),
        forbidden_prefixes=tuple(lists["forbidden_prefixes"]),
        source_host_tokens=frozenset(lists["source_host_tokens"]),
        retired=frozenset(lists["retired"]),
        proxies=frozenset(lists["proxies"]),
        tls_switches=frozenset(lists["tls_switches"]),
    )


def _within(
    reader: Reader, names: dict[str, yaml.Node], allowed: set[str], key: str, place: str
) -> None:
    for name, node in names.items():
        if name not in allowed:
            reader.blame(
                node,
                f"`{name}` in environment.{key} is not in {place}",
                "add it there or remove it here",
            )


def _check_credentials_can_be_set(
    reader: Reader, providers: dict[str, ReadProvider], lists: dict[str, dict[str, yaml.Node]]
) -> None:
    prefixes = tuple(lists["forbidden_prefixes"])
    closed = lists["forbidden"].keys() | lists["retired"].keys() | lists["endpoints"].keys()
    for read in providers.values():
        for name, node in read.auth_nodes.items():
            if name in closed or name.startswith(prefixes):
                reader.blame(
                    node,
                    f"`{name}` of provider `{read.provider.name}` is no name for a credential",
                    "use one that is not forbidden, retired or an endpoint",
                )
