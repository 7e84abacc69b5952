"""How a setting is declared as a field, and how settings are read from the environment.

A setting is an environment variable. Nothing else of a service reads the environment.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar, cast

from agentworkspace.service import settings_values as values
from agentworkspace.service.secret_file import SecretFile

T = TypeVar("T")
_SETTING: Final = "setting"
# Stands for the service's name, in the names of settings that every service has.
_PREFIX: Final = "{SERVICE}"

# Variables that Kubernetes sets in every container for a Service that is called like ours.
_SERVICE_LINK: Final = re.compile(
    r".*(_SERVICE_HOST|_SERVICE_PORT(_[A-Z0-9_]+)?|_PORT|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
# How alike (0 to 1) two names must be to take one for the other, misspelt: compared after our
# prefix, and compared as a whole.
_ALIKE: Final = 0.7
_VERY_MUCH_ALIKE: Final = 0.9


class BadSettings(Exception):
    """The service must not start. `problems` names each bad variable, never its value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable, as it was declared."""

    name: str
    # The default as the variable would hold it; empty: there is none.
    default: str
    meaning: str
    read: Callable[[str], object]
    # Whether a file may hold it, whose path is in the variable of this name with _FILE appended.
    in_file: bool = False

    @property
    def file_name(self) -> str:
        return f"{self.name}_FILE"

    def read_file(self, path: str) -> SecretFile:
        """The secret in this file. ValueError says what is wrong, never what the file holds."""
        try:
            return SecretFile(Path(path), self.read)
        except OSError:
            raise ValueError("must be the path of a readable file") from None


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting as `check-config` lists it; `value` never holds what may be secret."""

    name: str
    value: str
    default: str
    meaning: str


def setting(name: str, default: str, read: Callable[[str], T], meaning: str) -> T:
    """Declares a dataclass field and its variable; its type is what `read` returns."""
    return cast(T, field(metadata={_SETTING: Setting(name, default, meaning, read)}))


def secret_setting(name: str, read: Callable[[str], T], meaning: str) -> T | None:
    """Declares a confidential setting, which may also stand in the file that `NAME_FILE` names.

    That file is read again whenever it has changed.
    """
    optional = values.optional(read)
    return cast(T, field(metadata={_SETTING: Setting(name, "", meaning, optional, in_file=True)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredSettings:
    """Settings of one service. Absent and empty mean the same: the default."""

    # The prefix of the service's variables, such as `REGISTRY`.
    SERVICE: ClassVar[str]
    # Variables with our prefix that belong to another program.
    NOT_OURS: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def declared(cls) -> Mapping[str, Setting]:
        """Each setting by the name of its field."""
        return {each.name: cls._of(each.metadata[_SETTING]) for each in fields(cls)}

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """The settings of this environment. BadSettings names all variables that are wrong."""
        found: dict[str, Any] = {}
        problems: list[str] = []
        for attribute, declared in cls.declared().items():
            path = _path(environ, declared)
            if path and _text(environ, declared):
                problems.append(f"{declared.name} and {declared.file_name}: set one of them")
            try:
                if path:
                    found[attribute] = declared.read_file(path)
                else:
                    found[attribute] = declared.read(_text(environ, declared))
            except ValueError as wrong:
                name = declared.file_name if path else declared.name
                problems.append(f"{name} {wrong}")
        if problems:
            raise BadSettings(problems)
        settings = cls(**found)
        refuse(settings.contradictions())
        return settings

    @classmethod
    def shown(cls, environ: Mapping[str, str]) -> list[Shown]:
        """Every setting, valid or not, as `check-config` may print it.

        Any variable may hold a password by mistake. So a value that is refused is not shown, and
        an accepted one only as far as it cannot be secret.
        """
        rows = []
        for each in cls.declared().values():
            rows.append(Shown(each.name, _visible(environ, each), each.default, each.meaning))
            if each.in_file:
                meaning = f"file that holds {each.name}, read again whenever it is needed"
                rows.append(Shown(each.file_name, _visible_file(environ, each), "", meaning))
        return rows

    @classmethod
    def names(cls) -> frozenset[str]:
        """The names of all variables that are read, those of files included."""
        declared = cls.declared().values()
        return frozenset(each.name for each in declared) | frozenset(
            each.file_name for each in declared if each.in_file
        )

    @classmethod
    def misspelt(cls, environ: Mapping[str, str]) -> list[str]:
        """A sentence for each variable that looks like a misspelt setting, without its value.

        `serve` logs them and starts all the same: a variable that a newer or older version knows
        must not take the service down when it is rolled back. `check-config` refuses them.
        """
        ours = cls.names()
        sentences = []
        prefix = f"{cls.SERVICE}_"
        for name in sorted(set(environ) - ours - cls.NOT_OURS):
            prefixed = name.startswith(prefix)
            if prefixed and _SERVICE_LINK.fullmatch(name):
                continue
            start, cutoff = (len(prefix), _ALIKE) if prefixed else (0, _VERY_MUCH_ALIKE)
            known = {
                each[start:]: each for each in sorted(ours) if prefixed <= each.startswith(prefix)
            }
            nearest = difflib.get_close_matches(name[start:], known, n=1, cutoff=cutoff)
            if nearest:
                sentences.append(f"{name} is no setting: did you mean {known[nearest[0]]}?")
            elif prefixed:
                sentences.append(
                    f"{name} is no setting: remove it; `check-config` lists the settings there are"
                )
        return sentences

    def contradictions(self) -> list[str]:
        """A sentence for each combination of settings that makes no sense."""
        return []

    @classmethod
    def _of(cls, declared: Setting) -> Setting:
        name = declared.name.replace(_PREFIX, cls.SERVICE)
        return replace(declared, name=name)


def refuse(problems: list[str]) -> None:
    """Raise BadSettings if there are any problems."""
    if problems:
        raise BadSettings(problems)


def _text(environ: Mapping[str, str], declared: Setting) -> str:
    return environ.get(declared.name, "").strip() or declared.default


def _path(environ: Mapping[str, str], declared: Setting) -> str:
    return environ.get(declared.file_name, "").strip() if declared.in_file else ""


def _visible_file(environ: Mapping[str, str], declared: Setting) -> str:
    path = _path(environ, declared)
    return values.visible(Path(path), path) if path else ""


def _visible(environ: Mapping[str, str], declared: Setting) -> str:
    text = _text(environ, declared)
    if text == declared.default:
        return text
    try:
        return values.visible(declared.read(text), text)
    except ValueError:
        return "(set, but not usable)"
