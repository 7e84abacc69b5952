"""Reading the providers of a catalogue, each checked by itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import re2
import yaml

from provision_service.catalogue.catalogue import (
    PLATFORM,
    PLATFORM_ANTHROPIC_BASE_URL,
    PLATFORM_BASE_URL,
    USAGE_TOKEN_ENV,
    AuthMode,
    Protocol,
    Provider,
)
from provision_service.catalogue.document import Reader
from provision_service.domain.endpoints import is_provider_endpoint
from provision_service.domain.environment_names import is_environment_name, is_reserved

PROVIDER_REQUIRED: Final = frozenset(
    {"name", "display_name", "protocol", "auth_mode", "auth_env", "auth_token_env", "pattern"}
)
PROVIDER_OPTIONAL: Final = frozenset(
    {"base_url", "anthropic_base_url", "vendor", "aliases", "id_prefixes"}
)
# RE2, and this much memory: no pattern of an operator can make a look-up slow.
_MAX_MEMORY_BYTES: Final = 1 << 20
NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
NAME_REMEDY: Final = "use lower-case letters and digits, joined by single hyphens"
_PLACEHOLDERS: Final = frozenset({PLATFORM_BASE_URL, PLATFORM_ANTHROPIC_BASE_URL})


@dataclass(frozen=True, slots=True)
class ReadProvider:
    """A provider with the nodes it was read from, so that later checks can name a line."""

    provider: Provider
    node: yaml.Node
    auth_nodes: dict[str, yaml.Node]


def read_providers(reader: Reader, node: yaml.Node | None) -> dict[str, ReadProvider]:
    """Every provider that has a name, by that name; a repeated name is a problem."""
    found: dict[str, ReadProvider] = {}
    for item in reader.items(node, "providers"):
        read = _read_provider(reader, item)
        if read is None:
            continue
        name = read.provider.name
        if name in found:
            what = "a second `platform`" if name == PLATFORM else f"a second provider `{name}`"
            reader.blame(item, what, "rename or remove one of them")
        else:
            found[name] = read
    return found


def _read_provider(reader: Reader, node: yaml.Node) -> ReadProvider | None:
    entries = reader.mapping(
        node, "a provider", required=PROVIDER_REQUIRED, optional=PROVIDER_OPTIONAL
    )
    name = reader.text(entries.get("name"), "a provider's name")
    if not name:
        return None
    what = f"provider `{name}`"
    if NAME.fullmatch(name) is None:
        reader.blame(entries["name"], f"`{name}` is not a provider name", NAME_REMEDY)
    pattern = reader.text(entries.get("pattern"), f"pattern of {what}")
    searches = _compiled(reader, entries.get("pattern"), pattern, what)
    auth_nodes = _auth_env(reader, entries.get("auth_env"), what)
    protocol = reader.choice(entries.get("protocol"), Protocol, f"protocol of {what}")
    auth_mode = reader.choice(entries.get("auth_mode"), AuthMode, f"auth_mode of {what}")
    provider = Provider(
        name=name,
        display_name=reader.text(entries.get("display_name"), f"display_name of {what}"),
        protocol=protocol or Protocol.OPENAI,
        auth_mode=auth_mode or AuthMode.THIRD_PARTY_ANTHROPIC_COMPAT,
        auth_env=tuple(auth_nodes),
        auth_token_env=_token_env(reader, entries.get("auth_token_env"), what),
        base_url=_url(reader, entries.get("base_url"), name, "base_url"),
        anthropic_base_url=_url(
            reader, entries.get("anthropic_base_url"), name, "anthropic_base_url"
        ),
        vendor=reader.text_or_null(entries.get("vendor"), f"vendor of {what}"),
        pattern=pattern,
        aliases=_aliases(reader, entries.get("aliases"), searches, what),
        searches=searches,
        id_prefixes=tuple(reader.texts(entries.get("id_prefixes"), f"id_prefixes of {what}")),
    )
    if name == PLATFORM:
        _check_platform(reader, provider, node)
    return ReadProvider(provider, node, auth_nodes)


def _matches_nothing(_model: str) -> bool:
    return False


def _compiled(
    reader: Reader, node: yaml.Node | None, pattern: str, what: str
) -> Callable[[str], bool]:
    if node is None or not pattern:
        return _matches_nothing
    try:
        return compile_pattern(pattern)
    except PatternInvalid as error:
        reader.blame(node, f"pattern of {what} does not compile: {error}", "write it in RE2 syntax")
        return _matches_nothing


def _aliases(
    reader: Reader, node: yaml.Node | None, searches: Callable[[str], bool], what: str
) -> tuple[str, ...]:
    aliases = reader.texts(node, f"aliases of {what}")
    for alias, alias_node in aliases.items():
        if not searches(alias):
            reader.blame(
                alias_node,
                f"alias `{alias}` of {what} is not found by its pattern",
                "widen the pattern or remove the alias: nothing else makes it derive",
            )
    return tuple(aliases)


def _auth_env(reader: Reader, node: yaml.Node | None, what: str) -> dict[str, yaml.Node]:
    names = reader.texts(node, f"auth_env of {what}")
    if node is not None and isinstance(node, yaml.SequenceNode) and not node.value:
        reader.blame(node, f"auth_env of {what} is empty", "name the credentials it accepts")
    for name, name_node in names.items():
        if what == f"provider `{PLATFORM}`":
            continue
        if name == USAGE_TOKEN_ENV:
            reader.blame(
                name_node,
                f"{what} claims `{USAGE_TOKEN_ENV}`",
                "remove it: the usage token is the platform's alone",
            )
        elif not is_environment_name(name) or is_reserved(name):
            reader.blame(
                name_node,
                f"`{name}` in auth_env of {what} is no name a tenant can set",
                "use letters, digits and underscores, and none of the reserved names",
            )
    return names


def _token_env(reader: Reader, node: yaml.Node | None, what: str) -> str:
    name = reader.text(node, f"auth_token_env of {what}")
    if node is not None and name and (not is_environment_name(name) or is_reserved(name)):
        reader.blame(
            node,
            f"auth_token_env `{name}` of {what} is no name a runtime reads a credential from",
            "use letters, digits and underscores, and none of the reserved names",
        )
    return name


def _url(reader: Reader, node: yaml.Node | None, name: str, key: str) -> str | None:
    url = reader.text_or_null(node, f"{key} of provider `{name}`")
    if node is None or url is None:
        return None
    if name == PLATFORM:
        return url
    if any(placeholder in url for placeholder in _PLACEHOLDERS):
        reader.blame(
            node,
            f"{key} of provider `{name}` is the platform's proxy",
            "give the vendor's own endpoint",
        )
    elif not is_provider_endpoint(url):
        reader.blame(
            node,
            f"{key} of provider `{name}` is no endpoint",
            "write https://host/path without a trailing slash (http only for loopback)",
        )
    return url


def _check_platform(reader: Reader, provider: Provider, node: yaml.Node) -> None:
    fixed = (
        ("auth_env", provider.auth_env, (USAGE_TOKEN_ENV,)),
        ("base_url", provider.base_url, PLATFORM_BASE_URL),
        ("anthropic_base_url", provider.anthropic_base_url, PLATFORM_ANTHROPIC_BASE_URL),
    )
    for key, found, expected in fixed:
        if found != expected:
            wanted = expected if isinstance(expected, str) else f"[{', '.join(expected)}]"
            reader.blame(node, f"{key} of `platform` is changed", f"leave it at {wanted}")


class PatternInvalid(ValueError):
    """A pattern that RE2 does not compile; the text is RE2's own reason."""


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A function that searches `pattern`, unanchored, in a model id."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY_BYTES
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        detail = error.args[0] if error.args else "does not compile"
        text = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
        raise PatternInvalid(text) from None

    def searches(model: str) -> bool:
        return compiled.search(model) is not None

    return searches
