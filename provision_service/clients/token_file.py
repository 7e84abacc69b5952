"""The service's own credential at the registry, in a file that may be replaced while serving."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from agentworkspace.core.secret import Secret
from agentworkspace.core.watched_files import Observe, WatchedFiles, unobserved

_LONGEST: Final = 4096


class TokenFileInvalid(ValueError):
    """The file holds no credential; the text never repeats what it does hold."""


def token_file(path: Path, observe: Observe = unobserved) -> WatchedFiles[Secret]:
    """Gives the secret as it stands. TokenFileInvalid or OSError when there is none at first;
    later a missing or bad file leaves the last good one in use.
    """
    return WatchedFiles((path,), partial(_read, path), observe)


def _read(path: Path) -> Secret:
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    if not text or len(text) > _LONGEST or not text.isascii() or not text.isprintable():
        raise TokenFileInvalid(f"{path}: must hold one line with the credential and nothing else")
    return Secret(text)
