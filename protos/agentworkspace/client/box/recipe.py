"""The launch recipe: what WORKSPACE_LAUNCH asks to be done around the command.

One line of JSON: `version` 1, `arguments`, `directories`, `files` and `unset`. Unknown keys are
ignored: they are additions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

VERSION: Final = 1
# The directory of the run itself.
HERE: Final = "."
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_REFERENCE: Final = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_MODE: Final = re.compile(r"0?[0-7]{3}", re.ASCII)
# The most that a recipe may ask for: nothing for anybody but the owner.
_WIDEST_MODE: Final = 0o700


class BadRecipe(ValueError):
    """WORKSPACE_LAUNCH cannot be followed. The message never shows a file's content."""


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory to make. The variable `env` will hold its absolute path."""

    env: str
    path: str


@dataclass(frozen=True, slots=True)
class File:
    """A file to write. `content` may refer to variables, as `${NAME}`.

    `secret`: with these filled in it holds a credential. `mode`: permission bits. `env`: the
    variable that will hold its absolute path, if any.
    """

    path: str
    mode: int
    content: str
    secret: bool
    env: str = ""

    def __repr__(self) -> str:
        return f"File({self.path!r}, mode={self.mode:#o})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The recipe of one launch. Every path is relative to the directory made for the run."""

    arguments: tuple[str, ...] = ()
    directories: tuple[Directory, ...] = ()
    files: tuple[File, ...] = ()
    unset: frozenset[str] = frozenset()

    @property
    def path_names(self) -> frozenset[str]:
        """The variables that hold paths, which are all that an argument may refer to."""
        named = {each.env for each in self.directories} | {each.env for each in self.files}
        return frozenset(named - {""})


def parse(text: str) -> Recipe:
    """The recipe in this text. BadRecipe says what is wrong with it."""
    try:
        found = json.loads(text)
    except ValueError:
        raise BadRecipe("WORKSPACE_LAUNCH is not JSON") from None
    if not isinstance(found, dict):
        raise BadRecipe("WORKSPACE_LAUNCH is not a JSON object")
    if found.get("version") != VERSION:
        raise BadRecipe(
            f"this is a launch of version {found.get('version')!r}, and this runner knows version"
            f" {VERSION}: install a newer agentworkspace in the box"
        )
    try:
        return Recipe(
            arguments=tuple(_text(each) for each in _list(found, "arguments")),
            directories=tuple(_directory(each) for each in _list(found, "directories")),
            files=tuple(_file(each) for each in _list(found, "files")),
            unset=frozenset(_name(each) for each in _list(found, "unset")),
        )
    except (KeyError, TypeError) as error:
        raise BadRecipe(f"WORKSPACE_LAUNCH is malformed: {error}") from None


def filled_in(text: str, values: Mapping[str, str], *, where: str) -> str:
    """The text with every `${NAME}` replaced, in one pass; `$$` is a dollar sign.

    BadRecipe for a name that is not there; the message names it, and nothing of the text.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "$"
        if name not in values:
            raise BadRecipe(f"{where} needs ${{{name}}}, which is not set")
        return values[name]

    return _REFERENCE.sub(value, text)


def _list(found: Mapping[str, Any], key: str) -> list[Any]:
    value = found[key]
    if not isinstance(value, list):
        raise TypeError(f"{key} is not a list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError("something that must be text is not")
    return value


def _name(value: object) -> str:
    if not _NAME.fullmatch(_text(value)):
        raise TypeError(f"{value!r} is no name of a variable")
    return str(value)


def _directory(value: Mapping[str, Any]) -> Directory:
    path = _text(value["path"])
    return Directory(env=_name(value["env"]), path=path if path == HERE else _path(path))


def _file(value: Mapping[str, Any]) -> File:
    mode = _text(value["mode"])
    if not _MODE.fullmatch(mode) or int(mode, 8) & ~_WIDEST_MODE:
        raise TypeError(f"mode {mode!r} must be octal, and give access to the owner alone")
    secret = value["secret"]
    if not isinstance(secret, bool):
        raise TypeError("secret is neither true nor false")
    return File(
        path=_path(_text(value["path"])),
        mode=int(mode, 8),
        content=_text(value["content"]),
        secret=secret,
        env=_name(value["env"]) if value.get("env") else "",
    )


def _path(text: str) -> str:
    """A path below the directory of the run, in its canonical form; TypeError otherwise."""
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or path.as_posix() != text:
        raise TypeError(f"path {text!r} does not stay in the directory of the run")
    if text == HERE:
        raise TypeError("a file needs a name")
    return text
