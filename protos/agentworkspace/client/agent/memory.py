"""What a box keeps across restarts in place: tokens that it could not derive again."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from agentworkspace.core.secret import Secret

_VERSION: Final = 1
_FIELDS: Final = ("held", "candidate", "request_id", "ticket_sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The tokens of a box.

    held: the token that the registry last admitted, or said that it knows.
    candidate: the secret of a registration (with this `request_id`) that has no answer yet, and
    that may have been admitted all the same.
    ticket_sha256: the hash of the launch's ticket, by which a later launch ignores all this; empty
    without a ticket.
    """

    held: Secret | None = None
    candidate: Secret | None = None
    request_id: str = ""
    ticket_sha256: str = ""


class Memory(Protocol):
    """Where Remembered is kept. Both methods raise OSError when that place cannot be used."""

    def load(self) -> Remembered | None: ...

    def save(self, remembered: Remembered) -> None: ...


class ProcessMemory:
    """Keeps it in this process only, for boxes without a disk. They need a ticket."""

    def __init__(self) -> None:
        self._remembered: Remembered | None = None

    def load(self) -> Remembered | None:
        return self._remembered

    def save(self, remembered: Remembered) -> None:
        self._remembered = remembered


class FileMemory:
    """Keeps it in a JSON file of mode 0600, which is replaced atomically."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Remembered | None:
        """What was kept; None when there is no file, or not one of this format."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            return None
        return _parse(text)

    def save(self, remembered: Remembered) -> None:
        directory = self._path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp creates the file with mode 0600, so that no other user can read it at any moment.
        descriptor, name = tempfile.mkstemp(prefix=f".{self._path.name}-", dir=directory)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(_format(remembered))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_directory(directory)


def _format(remembered: Remembered) -> str:
    return json.dumps(
        {
            "version": _VERSION,
            "held": _reveal(remembered.held),
            "candidate": _reveal(remembered.candidate),
            "request_id": remembered.request_id,
            "ticket_sha256": remembered.ticket_sha256,
        }
    )


def _parse(text: str) -> Remembered | None:
    try:
        found: Any = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("version") != _VERSION:
        return None
    texts = {name: found.get(name) for name in _FIELDS}
    if not all(isinstance(text, str) for text in texts.values()):
        return None
    return Remembered(
        held=_secret(texts["held"]),
        candidate=_secret(texts["candidate"]),
        request_id=str(texts["request_id"]),
        ticket_sha256=str(texts["ticket_sha256"]),
    )


def _secret(text: str | None) -> Secret | None:
    return Secret(text) if text else None


def _reveal(secret: Secret | None) -> str:
    return "" if secret is None else secret.reveal()


def _sync_directory(directory: Path) -> None:
    """Make the rename itself survive a crash of the machine."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
