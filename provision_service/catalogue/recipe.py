"""Launch recipes: what makes one unmodified program run as a launch was resolved."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

# `{name}` is filled in by the decision, `${NAME}` by whoever starts the box; `$$` is one `$`.
PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")
REFERENCE: Final = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)\})")
BUILT_IN: Final = frozenset({"id", "model", "endpoint", "key_env", "workspace_id", "provider"})


@dataclass(frozen=True, slots=True)
class Read:
    """A credential name that the program takes from its environment by itself.

    `vendor` is the vendor to which the program sends that credential whatever it is told; None: it
    sends it to the endpoint of the launch.
    """

    name: str
    vendor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Names that lead the program to another endpoint, vendor, model or set of settings.

    `switches` are never handed on. `models` are handed on only where they name the model that was
    resolved. `headers` hold extra request headers: handed on only where the tenant's key pays, and
    without a credential in them. `endpoints` follow the rules for endpoint names.
    """

    switches: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    headers: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()

    @property
    def all(self) -> frozenset[str]:
        """Every route name of the program."""
        return self.switches | self.models | self.headers | self.endpoints


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory that is fresh for every run; `env` tells the program where it is."""

    env: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTemplate:
    """A file below the fresh directories; `env`, if any, tells the program where it is."""

    path: str
    mode: str
    text: str
    secret: bool = False
    env: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the program is started for some of the runtime's providers.

    `key` is the name that the paying credential is put under, None for its own name.
    `dialect_anthropic` chooses which of the provider's two endpoints `{endpoint}` is;
    `endpoint` replaces it. `endpoint_from` are endpoint names of the tenant that win over
    both. `harmless` are read names that the program does not send on this way.
    """

    providers: tuple[str, ...]
    model: str = "{id}"
    key: str | None = None
    dialect_anthropic: bool = False
    endpoint: str | None = None
    endpoint_from: tuple[str, ...] = ()
    harmless: frozenset[str] = frozenset()
    words: Mapping[str, str] = field(default_factory=dict, hash=False)
    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    arguments: tuple[str, ...] = ()
    files: tuple[FileTemplate, ...] = ()

    @property
    def needs_endpoint(self) -> bool:
        """Whether the program cannot be started this way without an endpoint."""
        texts = (*self.env.values(), *(file.text for file in self.files))
        return any("{endpoint}" in text for text in (*texts, *self.words.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The recipe of one runtime; a way without providers is for each that no other way names."""

    reads: tuple[Read, ...] = ()
    routes: Routes = Routes()
    directories: tuple[Directory, ...] = ()
    sends_workspace_header: bool = False
    ways: tuple[Way, ...] = ()
    closed_routes: Routes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        made = {directory.env for directory in self.directories}
        made |= {file.env for way in self.ways for file in way.files if file.env is not None}
        switches = self.routes.switches | made
        object.__setattr__(self, "closed_routes", replace(self.routes, switches=switches))

    def way_for(self, provider: str) -> Way | None:
        """The way for a provider of the runtime; None when the recipe has none for it."""
        default = None
        for way in self.ways:
            if provider in way.providers:
                return way
            if not way.providers:
                default = way
        return default

    @property
    def read_names(self) -> frozenset[str]:
        """Every credential name that the program takes by itself."""
        return frozenset(read.name for read in self.reads)


@dataclass(frozen=True, slots=True)
class Filling:
    """What is filled in for `{name}`: first the recipe's own words, then values.

    A file does not hold the `named` values itself: it gets `${VARIABLE}`, the variable of each.
    """

    words: Mapping[str, str]
    values: Mapping[str, str]
    named: Mapping[str, str] = field(default_factory=dict)

    def plain(self, text: str) -> str:
        """For an environment variable: values as they are."""
        return self._fill(text, lambda value: value)

    def argument(self, text: str) -> str:
        """For an argument: a `$` in a value is escaped, so that it stays one."""
        return self._fill(text, lambda value: value.replace("$", "$$"))

    def quoted(self, text: str) -> str:
        """For a file: values as they stand between double quotes in JSON, TOML and YAML."""
        return self._fill(text, _inside_quotes, self.named)

    def _fill(
        self, text: str, shape: Callable[[str], str], named: Mapping[str, str] | None = None
    ) -> str:
        def value(found: re.Match[str]) -> str:
            word = found[1]
            if named is not None and word in named:
                return f"${{{named[word]}}}"
            return shape(self.values[word]) if word in self.values else found[0]

        worded = PLACEHOLDER.sub(lambda found: self.words.get(found[1], found[0]), text)
        return PLACEHOLDER.sub(value, worded)


def _inside_quotes(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1].replace("$", "$$").replace("\x7f", "\\u007f")


def references(text: str) -> tuple[str, ...]:
    """The `${NAME}` references of a text, in order; whoever starts the box fills them in."""
    return tuple(found[1] for found in REFERENCE.finditer(text) if found[1])
