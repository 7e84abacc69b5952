"""The service's own credential at the registry, in a file that may be replaced while serving."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from agentworkspace.core.secret import Secret
from agentworkspace.core.watched_files import signature

_CHECK_EVERY_SECONDS: Final = 1.0
_LONGEST: Final = 4096


class TokenFileInvalid(ValueError):
    """The file holds no credential; the text never repeats what it does hold."""


class TokenFile:
    """Gives the secret; notices within a second that the file changed.

    A first load that fails raises TokenFileInvalid or OSError. Later a missing or bad file is
    logged once and the last good secret stays in use.
    """

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._signature = signature(path)
        self._secret = _read(path)
        self._checked_at = monotonic()

    def __call__(self) -> Secret:
        """The secret as it stands."""
        with self._lock:
            now = self._monotonic()
            if now - self._checked_at >= _CHECK_EVERY_SECONDS:
                self._checked_at = now
                self._reload_if_changed()
            return self._secret

    def _reload_if_changed(self) -> None:
        log = structlog.get_logger("provision_service")
        seen = signature(self._path)
        if seen == self._signature:
            return
        self._signature = seen
        try:
            self._secret = _read(self._path)
        except (OSError, ValueError):
            log.error("registry token file not usable, keeping the last", path=str(self._path))
        else:
            log.info("registry token file read again", path=str(self._path))


def _read(path: Path) -> Secret:
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    if not text or len(text) > _LONGEST or not text.isascii() or not text.isprintable():
        raise TokenFileInvalid(f"{path}: must hold one line with the credential and nothing else")
    return Secret(text)
