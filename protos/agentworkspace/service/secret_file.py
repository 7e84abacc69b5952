"""A secret that lies in a file and may be replaced there while the service runs."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from typing_extensions import override

from agentworkspace.core.secret import Secret

_LONGEST: Final = 65_536


def open_to_others(path: Path) -> str:
    """What is wrong with the mode of a file of keys, and what to do; empty when nothing is.

    OSError when it cannot be asked.
    """
    # Owner and group may read it: Kubernetes hands secrets out by group.
    if not path.stat().st_mode & stat.S_IRWXO:
        return ""
    return f"{path} is open to every user of this machine; chmod o= {path}"


class SecretFile(Secret):
    """Read again each time that it is revealed, so that a renewal is seen without a restart.

    `check` raises ValueError for a text that is of no use. A first text like that is refused;
    afterwards the last good one stays in use, and the log says once that the file is not usable.
    """

    __slots__ = ("_check", "_complained", "_path")

    def __init__(self, path: Path, check: Callable[[str], object]) -> None:
        """ValueError, which never repeats what the file holds, or OSError."""
        self._path = path
        self._check = check
        self._complained = False
        super().__init__(self._read())

    @override
    def reveal(self) -> str:
        try:
            self._text = self._read()
            self._complained = False
        except (OSError, ValueError):
            if not self._complained:
                self._complained = True
                # The health check reads settings, too, and shall load no more than it needs.
                import structlog  # noqa: PLC0415

                log = structlog.get_logger("agentworkspace.files")
                log.error("a secret's file is not usable, keeping the last", path=str(self._path))
        return super().reveal()

    def digest(self) -> bytes:
        """Tells whether the text is another one; for that alone."""
        return hashlib.sha256(self.reveal().encode()).digest()

    def _read(self) -> str:
        # Replaced by rename or not, a file that is still being written is empty at most.
        with self._path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_LONGEST + 1).strip()
        if not text or len(text) > _LONGEST:
            raise ValueError("must name a file that holds the value and nothing else")
        self._check(text)
        return text
