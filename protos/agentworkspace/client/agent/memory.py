"""What a box remembers across its own restarts: tokens that nothing else could give it back."""

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

    held: the one that the registry last admitted, or said to have on record.
    candidate: made, and perhaps admitted already, but no answer has arrived yet; it belongs to
    `request_id`. ticket_sha256: of the launch all this belongs to; empty without a ticket.
    """

    held: Secret | None = None
    candidate: Secret | None = None
    request_id: str = ""
    ticket_sha256: str = ""


class Memory(Protocol):
    """Where it is kept. Both methods raise OSError when the place does not answer."""

    def load(self) -> Remembered | None: ...

    def save(self, remembered: Remembered) -> None: ...


class ProcessMemory:
    """Forgets with the process: for boxes without a disk, which then need a ticket."""

    def __init__(self) -> None:
        self._remembered: Remembered | None = None

    def load(self) -> Remembered | None:
        return self._remembered

    def save(self, remembered: Remembered) -> None:
        self._remembered = remembered


class FileMemory:
    """One JSON file, mode 0600, replaced as a whole: it is the old one or the new one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Remembered | None:
        """What was kept. None when there is no file, or nothing of ours in it."""
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
        # mkstemp creates with mode 0600: at no moment can another user read it.
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
    """The rename itself must survive a crash of the machine."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
