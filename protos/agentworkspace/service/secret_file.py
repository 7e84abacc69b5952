"""A secret that lies in a file and may be replaced there while the service runs."""

from __future__ import annotations

import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from typing_extensions import override

from agentworkspace.core.secret import Secret
from agentworkspace.core.watched_files import Observe, WatchedFiles

_LONGEST: Final = 65_536


def open_to_others(path: Path) -> str:
    """What is wrong with the mode of a file of keys, and what to do; empty when nothing is.

    OSError when it cannot be asked.
    """
    # Owner and group may read it: Kubernetes hands secrets out by group.
    if not path.stat().st_mode & stat.S_IRWXO:
        return ""
    return f"{path} is open to every user of this machine; chmod o= {path}"


def as_it_is(secret: Secret | None) -> Secret | None:
    """The secret as it is now, which stays the same."""
    return None if secret is None else Secret(secret.reveal())


class SecretFile(Secret):
    """Looked at each time that it is revealed, so that a renewal is seen without a restart.

    `check` raises ValueError for a text that is of no use. A first text like that is refused;
    afterwards the last good one stays in use. `observe` is told of every change; without one the
    log is.
    """

    __slots__ = ("_watched",)

    def __init__(
        self, path: Path, check: Callable[[str], object], observe: Observe | None = None
    ) -> None:
        """ValueError, which never repeats what the file holds, or OSError."""
        self._watched = WatchedFiles(
            (path,), partial(_read, path, check), observe or partial(_log, path)
        )
        super().__init__(self._watched())

    @override
    def reveal(self) -> str:
        self._text = self._watched()
        return super().reveal()


def _read(path: Path, check: Callable[[str], object]) -> str:
    # Replaced by rename or not, a file that is still being written is empty at most.
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_LONGEST + 1).strip()
    if not text or len(text) > _LONGEST:
        raise ValueError("must name a file that holds the value and nothing else")
    check(text)
    return text


def _log(path: Path, *, refused: bool) -> None:
    # The health check reads settings, too, and shall load no more than it needs.
    import structlog  # noqa: PLC0415

    log = structlog.get_logger("agentworkspace.files")
    if refused:
        log.error("a secret's file is not usable, keeping the last", path=str(path))
    else:
        log.info("a secret's file was read again", path=str(path))
