"""The environment of a box as a file that something can start it from."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Final

from agentworkspace.ctl.files import NotKept

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def _shell(name: str, value: str) -> str:
    return f"{name}={shlex.quote(value)}\n"


def _docker(name: str, value: str) -> str:
    if "\n" in value or "\r" in value:
        raise NotKept(f"{name} has line breaks, which a docker env file cannot hold")
    return f"{name}={value}\n"


_LINES: Final[Mapping[str, Callable[[str, str], str]]] = {"shell": _shell, "docker": _docker}
FORMATS: Final = (*_LINES, "json")


def env_text(env: Mapping[str, str], form: str) -> str:
    """`shell`: to be sourced; `docker`: for --env-file; `json`: one object. Sorted by name."""
    for name in env:
        if not _NAME.fullmatch(name):
            raise NotKept(f"{name!r} is no name for an environment variable")
    if form == "json":
        return json.dumps(dict(sorted(env.items())), indent=2, ensure_ascii=False) + "\n"
    return "".join(_LINES[form](name, env[name]) for name in sorted(env))
