"""The contexts file: which installations an operator works with, and how each is reached.

`~/.config/workspacectl/contexts.yaml`, or what WORKSPACECTL_CONFIG names. It may hold a token, and
is therefore read only while nobody else can read it.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

import yaml

from agentworkspace.core.secret import Secret
from agentworkspace.ctl.files import PrivateFile, Unusable, read_credential

CONFIG_VARIABLE: Final = "WORKSPACECTL_CONFIG"
_COMMAND_SECONDS: Final = 30
_TOKENS: Final = ("token", "token_file", "token_command")


@dataclass(frozen=True, kw_only=True)
class Context:
    """One installation. At most one of `token`, `token_file` and `token_command` is set."""

    registry: str | None = None
    provision: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    token_command: str | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    tls_server_name: str | None = None
    plaintext: bool = False

    def credential(self) -> Secret | None:
        """The token; None when the context has none. Unusable when it cannot be read."""
        if self.token is not None:
            return Secret(self.token)
        if self.token_file is not None:
            return read_credential(Path(self.token_file).expanduser())
        if self.token_command is not None:
            return _printed_by(self.token_command)
        return None

    def with_changes(self, changes: Mapping[str, Any]) -> Context:
        """A copy with these fields; a new source of the token replaces the old one."""
        if changes.keys() & _TOKENS:
            changes = dict.fromkeys(_TOKENS) | dict(changes)
        return replace(self, **changes)

    @property
    def token_from(self) -> str:
        """Where the token comes from, for people."""
        if self.token is not None:
            return "this file"
        if self.token_file is not None:
            return f"file {self.token_file}"
        return f"command {self.token_command}" if self.token_command else "-"


@dataclass(frozen=True, kw_only=True)
class Contexts:
    """What the file holds; `current` is the context that is used when none is named."""

    path: Path
    current: str = ""
    by_name: Mapping[str, Context] = field(default_factory=dict)

    def named(self, name: str) -> Context:
        """The context of this name. Unusable when there is none."""
        if name not in self.by_name:
            known = ", ".join(self.by_name) or "none yet; `workspacectl context set` makes one"
            raise Unusable(f"no context is called {name!r} in {self.path}; there are: {known}")
        return self.by_name[name]

    def save(self) -> None:
        """Write the file, readable for its owner alone. Unusable when it cannot be."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unusable(
                f"cannot make {self.path.parent}: {error.strerror}; {CONFIG_VARIABLE} names another"
                " file for contexts"
            ) from error
        document = {
            "current": self.current,
            "contexts": {name: _as_document(context) for name, context in self.by_name.items()},
        }
        with PrivateFile(self.path) as file:
            file.write(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def read_contexts(environ: Mapping[str, str]) -> Contexts:
    """The contexts of the file; none where there is no file.

    Unusable when it cannot be read, is malformed, or is open to other users.
    """
    path = _path(environ)
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Contexts(path=path)
    except OSError as error:
        raise Unusable(
            f"cannot read {path}: {error.strerror}; {CONFIG_VARIABLE} names another file"
        ) from error
    except UnicodeDecodeError as error:
        raise Unusable(f"{path} is not UTF-8 text; {CONFIG_VARIABLE} names another file") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Unusable(f"{path} is open to others and may hold a token: chmod 600 {path}")
    try:
        document = yaml.safe_load(text) or {}
        read = {str(name): _read(each) for name, each in document["contexts"].items()}
        current = str(document.get("current") or "")
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        # What is wrong is not repeated: the file may hold a token.
        known = ", ".join(each.name for each in fields(Context))
        raise Unusable(
            f"{path} is not a contexts file: `current: NAME` and `contexts:`, by name, each with"
            f" some of {known}"
        ) from None
    return Contexts(path=path, current=current, by_name=read)


def _path(environ: Mapping[str, str]) -> Path:
    if environ.get(CONFIG_VARIABLE):
        return Path(environ[CONFIG_VARIABLE])
    home = environ.get("XDG_CONFIG_HOME")
    base = Path(home) if home else Path(environ.get("HOME") or Path.home()) / ".config"
    return base / "workspacectl" / "contexts.yaml"


def _read(given: Mapping[str, Any]) -> Context:
    """Raises TypeError for an unknown field, or one of the wrong type."""
    if not all(
        isinstance(each, bool if name == "plaintext" else str) for name, each in given.items()
    ):
        raise TypeError("text was expected")
    return Context(**given)


def _as_document(context: Context) -> dict[str, Any]:
    return {name: value for name, value in asdict(context).items() if value}


def _printed_by(command: str) -> Secret:
    """The token that the command prints. It runs without a shell; its standard error is shown."""
    try:
        done = subprocess.run(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=dict(os.environ),
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except (OSError, ValueError) as error:
        raise Unusable(
            f"the context's token command cannot be started: {error}; it is run without a shell"
        ) from error
    except subprocess.TimeoutExpired:
        raise Unusable(
            f"the context's token command did not end within {_COMMAND_SECONDS} s"
        ) from None
    word = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode != 0:
        raise Unusable(f"the context's token command ended with {done.returncode}")
    if not word or not word.isascii() or not word.isprintable() or " " in word:
        raise Unusable("the context's token command did not print a token: one word on one line")
    return Secret(word)
