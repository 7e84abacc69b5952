"""What a box needs beside its environment: arguments, files and fresh directories."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

from provision_service.catalogue.recipe import Directory

LAUNCH_NAME: Final = "WORKSPACE_LAUNCH"
FORMAT_VERSION: Final = 1
MAX_LAUNCH_BYTES: Final = 96 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchFile:
    """A file to write below the fresh directories; `mode` is octal text.

    `content` names credentials as `${NAME}`; `secret` says that it holds one once it is
    filled in. `env` is the variable that is told its path, empty for none.
    """

    path: str
    mode: str
    content: str
    secret: bool
    env: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """The recipe of a runtime, expanded for one launch.

    `model` is the model id as the program spells it. `endpoint_name` is the tenant's variable
    that `endpoint` was taken from, empty where it is not the tenant's. `names` are the
    variables that the recipe set, `unset` the names that must not reach the program from
    anywhere else.
    `endpoint_missing` is the name to set where nobody knows an endpoint, else empty;
    `names_workspace`: the proxy learns which workspace calls.
    """

    model: str
    endpoint: str = field(repr=False)
    endpoint_name: str
    endpoint_missing: str
    names_workspace: bool
    names: tuple[str, ...]
    arguments: tuple[str, ...]
    directories: tuple[Directory, ...]
    files: tuple[LaunchFile, ...]
    unset: tuple[str, ...]

    def as_text(self) -> str:
        """The value of WORKSPACE_LAUNCH: one line of ASCII JSON."""
        document = {
            "version": FORMAT_VERSION,
            "arguments": list(self.arguments),
            "directories": [{"env": made.env, "path": made.path} for made in self.directories],
            "files": [_file(file) for file in self.files],
            "unset": list(self.unset),
        }
        return json.dumps(document, separators=(",", ":"))


def _file(file: LaunchFile) -> dict[str, object]:
    shown: dict[str, object] = {
        "path": file.path,
        "mode": file.mode,
        "content": file.content,
        "secret": file.secret,
    }
    return shown | {"env": file.env} if file.env else shown
