"""Secrets on their way in and out: from files and standard input, into files of mode 0600."""

from __future__ import annotations

import getpass
import json
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, Self

from agentworkspace.core.secret import Secret

STDIN: Final = Path("-")


class Unusable(Exception):
    """The command cannot be carried out as it was given; the message holds no secret."""


_WHERE: Final = (
    "--token-file FILE, WORKSPACECTL_TOKEN_FILE or a context says where your credential is"
)


def read_credential(path: Path) -> Secret:
    """The credential that the file holds: one word of printable ASCII. Unusable otherwise."""
    try:
        word = _decoded(path, _bytes_of(path)).strip()
    except Unusable as error:
        raise Unusable(f"{error}; {_WHERE}") from error
    if not word or not word.isascii() or not word.isprintable() or " " in word:
        raise Unusable(f"{path} does not hold a credential: one line of printable ASCII; {_WHERE}")
    return Secret(word)


def read_secret(source: Path | None, *, what: str, verbatim: bool = False) -> Secret:
    """The secret in the file, or from standard input when no file is named or it is `-`.

    At a terminal it is asked for without echo. One line break at the end belongs to the editor
    or to `echo`, not to the secret, unless `verbatim`. Unusable when it is empty.
    """
    if source in (None, STDIN) and sys.stdin.isatty():
        text = getpass.getpass(f"{what}: ")
    else:
        text = _decoded(source or STDIN, _bytes_of(source or STDIN))
        if not verbatim:
            text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise Unusable(f"{named(source or STDIN)} is empty: expected the {what}")
    return Secret(text)


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in the file, or on standard input for `-`. Unusable when there is none."""
    try:
        found = json.loads(_decoded(path, _bytes_of(path)))
    except json.JSONDecodeError as error:
        # This says where, but not what: the file may hold secrets.
        where = f"line {error.lineno} column {error.colno}"
        raise Unusable(f"{named(path)} is not JSON: {where}") from None
    if not isinstance(found, dict):
        raise Unusable(f"{named(path)} does not hold a JSON object")
    return found


class NotKept(Unusable):
    """What the service handed out could not be stored; the same request id gets it once more."""


class PrivateFile:
    """A file of mode 0600, opened before the call that fills it and put in place complete.

    So a directory that cannot be written is noticed before the service hands out a secret, which
    it does only once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        self._draft = ""

    def __enter__(self) -> Self:
        try:
            if self.path.is_symlink() or not _regular_or_absent(self.path):
                raise Unusable(f"{self.path} is not a plain file")
            self._fd, self._draft = tempfile.mkstemp(
                dir=self.path.parent, prefix=f".{self.path.name}."
            )
        except OSError as error:
            raise Unusable(f"cannot write {self.path}: {error.strerror}") from error
        return self

    def write(self, text: str) -> None:
        """Replace whatever was there with the text. Raises NotKept."""
        try:
            with os.fdopen(os.dup(self._fd), "w", encoding="utf-8", newline="") as draft:
                draft.write(text)
                draft.flush()
                os.fsync(draft.fileno())
            Path(self._draft).replace(self.path)
        except OSError as error:
            raise NotKept(f"cannot write {self.path}: {error.strerror}") from error

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        Path(self._draft).unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """All of the file, or of standard input when it is `-`. Unusable when it cannot be read."""
    return _decoded(path, _bytes_of(path))


def _regular_or_absent(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return True


def _bytes_of(path: Path) -> bytes:
    if path == STDIN:
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unusable(f"cannot read {path}: {error.strerror}") from error


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise Unusable(f"{named(path)} is not UTF-8 text") from None


def named(path: Path) -> str:
    """The name to show for this path."""
    return "standard input" if path == STDIN else str(path)
