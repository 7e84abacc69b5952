"""Reading the launch recipe of a runtime, checked against what the runtime offers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import yaml

from provision_service.catalogue.catalogue import PLATFORM, USAGE_TOKEN_ENV, Provider
from provision_service.catalogue.document import Reader
from provision_service.catalogue.recipe import (
    BUILT_IN,
    PLACEHOLDER,
    Directory,
    FileTemplate,
    Read,
    Recipe,
    Routes,
    Way,
    references,
)
from provision_service.catalogue.recipe_checks import check_recipe
from provision_service.domain.endpoints import is_provider_endpoint
from provision_service.domain.environment_names import is_environment_name, is_reserved

RECIPE_KEYS: Final = frozenset(
    {
        "reads",
        "routes",
        "directories",
        "sends_workspace_header",
        "harmless",
        "words",
        "env",
        "arguments",
        "files",
        "ways",
    }
)
ROUTE_KEYS: Final = frozenset({"switches", "models", "headers", "endpoints"})
WAY_KEYS: Final = frozenset(
    {
        "for",
        "model",
        "key",
        "speaks",
        "endpoint",
        "endpoint_from",
        "harmless",
        "sends",
        "words",
        "env",
        "arguments",
        "files",
    }
)
READ_KEYS: Final = frozenset({"name", "vendor"})
DIRECTORY_KEYS: Final = frozenset({"env", "path"})
FILE_REQUIRED: Final = frozenset({"path", "text"})
FILE_OPTIONAL: Final = frozenset({"mode", "secret", "env"})
SPEAKS: Final = ("openai", "anthropic")
MODES: Final = ("0600", "0400")
MAX_TEXT_BYTES: Final = 32 * 1024
_PATH: Final = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
_WORD: Final = re.compile(r"[a-z_]+")


class RecipeReader:
    """Reads one recipe. `what` names it in problems; `vendors` and `credentials` are the names that
    the catalogue's providers use.
    """

    def __init__(
        self, reader: Reader, what: str, *, vendors: frozenset[str], credentials: frozenset[str]
    ) -> None:
        self._reader = reader
        self._what = what
        self._vendors = vendors
        self._credentials = credentials

    def read(self, node: yaml.Node, offered: tuple[Provider, ...]) -> Recipe:
        """The recipe at `node` of a runtime that offers the providers `offered`."""
        entries = self._reader.mapping(
            node, self._what, required=frozenset({"ways"}), optional=RECIPE_KEYS
        )
        directories = self._directories(entries.get("directories"))
        every_way = Way(
            providers=(),
            harmless=self._names(entries.get("harmless"), f"harmless of {self._what}"),
            words=self._pairs(entries.get("words"), f"words of {self._what}", self._word),
            env=self._pairs(entries.get("env"), f"env of {self._what}", self._recipe_name),
            arguments=self._arguments(entries.get("arguments"), self._what),
            files=self._files(entries.get("files"), self._what),
        )
        made = frozenset(directory.env for directory in directories)
        names = frozenset(provider.name for provider in offered)
        ways = tuple(
            self._way(item, names, made, every_way)
            for item in self._reader.items(entries.get("ways"), f"ways of {self._what}")
        )
        recipe = Recipe(
            reads=self._reads(entries.get("reads")),
            routes=self._routes(entries.get("routes")),
            directories=directories,
            sends_workspace_header=self._reader.boolean(
                entries.get("sends_workspace_header"), f"sends_workspace_header of {self._what}"
            ),
            ways=ways,
        )
        check_recipe(self._reader, node, self._what, recipe, offered)
        return recipe

    def _reads(self, node: yaml.Node | None) -> tuple[Read, ...]:
        found: dict[str, Read] = {}
        for item in self._reader.items(node, f"reads of {self._what}"):
            name_node: yaml.Node | None = item
            vendor = None
            if isinstance(item, yaml.MappingNode):
                entries = self._reader.mapping(
                    item,
                    f"an entry of reads of {self._what}",
                    required=READ_KEYS,
                    optional=frozenset(),
                )
                name_node = entries.get("name")
                vendor = self._known(
                    entries.get("vendor"), self._vendors, "vendor", "the vendor of a provider"
                )
            name = self._name(name_node, f"a name in reads of {self._what}")
            if name in found:
                self._reader.blame(item, f"`{name}` stands twice in reads", "keep one of them")
            elif name:
                found[name] = Read(name, vendor)
        return tuple(found.values())

    def _routes(self, node: yaml.Node | None) -> Routes:
        if node is None:
            return Routes()
        what = f"routes of {self._what}"
        entries = self._reader.mapping(node, what, required=frozenset(), optional=ROUTE_KEYS)
        names = {key: self._names(entries.get(key), f"{key} in {what}") for key in ROUTE_KEYS}
        seen: set[str] = set()
        for key in sorted(ROUTE_KEYS):
            for name in sorted(names[key] & seen):
                self._reader.blame(
                    node, f"`{name}` stands in two lists of {what}", "keep it in one of them"
                )
            seen |= names[key]
        return Routes(**names)

    def _directories(self, node: yaml.Node | None) -> tuple[Directory, ...]:
        found: dict[str, Directory] = {}
        for item in self._reader.items(node, f"directories of {self._what}"):
            what = f"a directory of {self._what}"
            entries = self._reader.mapping(
                item, what, required=DIRECTORY_KEYS, optional=frozenset()
            )
            env = self._recipe_name(entries.get("env"), f"env of {what}")
            path = self._path(entries.get("path"), f"path of {what}", root_allowed=True)
            if env in found:
                self._reader.blame(item, f"`{env}` names two directories", "keep one of them")
            elif env and path:
                found[env] = Directory(env, path)
        return tuple(found.values())

    def _way(
        self, node: yaml.Node, offered: frozenset[str], made: frozenset[str], every_way: Way
    ) -> Way:
        what = f"a way of {self._what}"
        entries = self._reader.mapping(node, what, required=frozenset(), optional=WAY_KEYS)
        words = self._pairs(entries.get("words"), f"words of {what}", self._word)
        own_files = self._files(entries.get("files"), what)
        own = {file.path for file in own_files}
        files = (*(file for file in every_way.files if file.path not in own), *own_files)
        env = self._pairs(entries.get("env"), f"env of {what}", self._recipe_name)
        made |= {file.env for file in files if file.env is not None}
        providers = tuple(
            self._known(item, offered, "provider", "the providers of the runtime") or ""
            for item in self._reader.items(entries.get("for"), f"for of {what}")
        )
        way = Way(
            providers=providers,
            model=self._reader.text_or_null(entries.get("model"), f"model of {what}") or "{id}",
            key=self._key(entries.get("key"), providers, what),
            dialect_anthropic=self._speaks(entries.get("speaks"), what) == "anthropic",
            endpoint=self._endpoint(entries.get("endpoint"), what),
            endpoint_from=tuple(
                self._reader.texts(entries.get("endpoint_from"), f"endpoint_from of {what}")
            ),
            harmless=(
                every_way.harmless | self._names(entries.get("harmless"), f"harmless of {what}")
            )
            - self._names(entries.get("sends"), f"sends of {what}"),
            words={**every_way.words, **words},
            env={**every_way.env, **env},
            arguments=(
                *every_way.arguments,
                *self._arguments(entries.get("arguments"), what),
            ),
            files=files,
        )
        self._check_texts(node, way, made, what)
        return way

    def _arguments(self, node: yaml.Node | None, what: str) -> tuple[str, ...]:
        return tuple(
            self._reader.text(item, f"an argument of {what}")
            for item in self._reader.items(node, f"arguments of {what}")
        )

    def _files(self, node: yaml.Node | None, what: str) -> tuple[FileTemplate, ...]:
        found: dict[str, FileTemplate] = {}
        for item in self._reader.items(node, f"files of {what}"):
            of = f"a file of {what}"
            entries = self._reader.mapping(item, of, required=FILE_REQUIRED, optional=FILE_OPTIONAL)
            path = self._path(entries.get("path"), f"path of {of}", root_allowed=False)
            mode = self._reader.text_or_null(entries.get("mode"), f"mode of {of}") or MODES[0]
            if mode not in MODES:
                self._reader.blame(item, f"mode of {of} is {mode}", f"use {' or '.join(MODES)}")
            text = self._reader.block(entries.get("text"), f"text of {of}")
            if len(text.encode()) > MAX_TEXT_BYTES:
                self._reader.blame(item, f"text of {of} is over 32 KiB", "make it shorter")
            env_node = entries.get("env")
            file = FileTemplate(
                path=path,
                mode=mode,
                text=text,
                secret=self._reader.boolean(entries.get("secret"), f"secret of {of}"),
                env=self._recipe_name(env_node, f"env of {of}") or None,
            )
            if path in found:
                self._reader.blame(item, f"`{path}` is written twice", "keep one of them")
            elif path:
                found[path] = file
        return tuple(found.values())

    def _check_texts(self, node: yaml.Node, way: Way, made: frozenset[str], what: str) -> None:
        files = tuple(file.text for file in way.files)
        every = (way.model, *way.env.values(), *way.arguments, *files, *way.words.values())
        known = BUILT_IN | way.words.keys()
        for name in sorted({n for text in every for n in PLACEHOLDER.findall(text)} - known):
            self._reader.blame(
                node,
                f"{what} uses `{{{name}}}`, which nothing fills in",
                f"use one of: {', '.join(sorted(known))}",
            )
        if "{model}" in way.model:
            self._reader.blame(node, f"model of {what} holds `{{model}}`", "use `{id}` there")
        for text in way.arguments:
            if "{endpoint}" in text or set(references(text)) - made:
                self._reader.blame(
                    node,
                    f"the argument `{text}` of {what} could show a secret in a list of processes",
                    "put it into a file; only directories and files may be named with ${NAME}",
                )
        wrong = {n for text in (*files, *way.words.values()) for n in references(text)}
        for name in sorted(wrong & self._credentials - {way.key}):
            self._reader.blame(
                node,
                f"{what} takes the credential `{name}` whoever it belongs to",
                "write ${{key_env}}: the name of the one that pays",
            )

    def _known(
        self, node: yaml.Node | None, known: Iterable[str], kind: str, place: str
    ) -> str | None:
        name = self._reader.text(node, f"a {kind} in {self._what}")
        if node is not None and name and name not in known:
            self._reader.blame(
                node, f"unknown {kind} `{name}` in {self._what}", f"use one of {place}"
            )
        return name or None

    def _name(self, node: yaml.Node | None, what: str) -> str:
        name = self._reader.text(node, what)
        if node is not None and name and not is_environment_name(name):
            self._reader.blame(
                node,
                f"`{name}` in {what} is no environment name",
                "use letters, digits and underscores",
            )
        return name

    def _names(self, node: yaml.Node | None, what: str) -> frozenset[str]:
        names = self._reader.texts(node, what)
        for name_node in names.values():
            self._name(name_node, what)
        return frozenset(names)

    def _recipe_name(self, node: yaml.Node | None, what: str) -> str:
        if node is None:
            return ""
        name = self._name(node, what)
        if name and is_environment_name(name) and is_reserved(name):
            self._reader.blame(
                node,
                f"`{name}` in {what} is not a recipe's to set",
                "choose a name that the platform and the box's loaders do not own",
            )
        return name

    def _key(self, node: yaml.Node | None, providers: tuple[str, ...], what: str) -> str | None:
        if providers == (PLATFORM,) and self._reader.text_or_null(node, what) == USAGE_TOKEN_ENV:
            return USAGE_TOKEN_ENV
        return self._recipe_name(node, f"key of {what}") or None

    def _word(self, node: yaml.Node | None, what: str) -> str:
        word = self._reader.text(node, what)
        taken = ", ".join(sorted(BUILT_IN))
        if node is not None and word and (_WORD.fullmatch(word) is None or word in BUILT_IN):
            self._reader.blame(
                node,
                f"`{word}` is no name for one of {what}",
                f"use lower-case letters and underscores, and none of: {taken}",
            )
        return word

    def _pairs(
        self, node: yaml.Node | None, what: str, key: Callable[[yaml.Node | None, str], str]
    ) -> Mapping[str, str]:
        if node is None:
            return {}
        return {
            key(key_node, what): self._reader.block(value, f"a value in {what}")
            for key_node, value in self._reader.entries(node, what)
        }

    def _path(self, node: yaml.Node | None, what: str, *, root_allowed: bool) -> str:
        path = self._reader.text(node, what)
        if node is None or not path or (root_allowed and path == "."):
            return path
        parts = path.split("/")
        if _PATH.fullmatch(path) is None or "." in parts or ".." in parts:
            self._reader.blame(
                node,
                f"`{path}` in {what} does not stay below the box's home",
                "write a relative path of plain names, joined by `/`",
            )
        return path

    def _speaks(self, node: yaml.Node | None, what: str) -> str:
        speaks = self._reader.text_or_null(node, f"speaks of {what}") or SPEAKS[0]
        if node is not None and speaks not in SPEAKS:
            self._reader.blame(
                node, f"speaks of {what} is unknown: `{speaks}`", f"use one of: {', '.join(SPEAKS)}"
            )
        return speaks

    def _endpoint(self, node: yaml.Node | None, what: str) -> str | None:
        url = self._reader.text_or_null(node, f"endpoint of {what}")
        if node is not None and url is not None and not is_provider_endpoint(url):
            self._reader.blame(
                node,
                f"endpoint of {what} is no endpoint",
                "write https://host/path without a trailing slash (http only for loopback)",
            )
        return url
