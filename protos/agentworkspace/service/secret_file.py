"""A secret in a file, which may be replaced while the service runs."""

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
    """A sentence when other users have any access to the file, with the remedy; else empty.

    OSError when its mode cannot be read.
    """
    # The group may read it, because Kubernetes gives pods access to secrets by group.
    if not path.stat().st_mode & stat.S_IRWXO:
        return ""
    return f"{path} is open to every user of this machine; chmod o= {path}"


def as_it_is(secret: Secret | None) -> Secret | None:
    """A copy of the secret that does not change when its file does."""
    return None if secret is None else Secret(secret.reveal())


class SecretFile(Secret):
    """A secret whose file is looked at whenever it is revealed, so that a change needs no restart.

    `check` raises ValueError for a text that cannot be used: the constructor raises it too, later
    the last good text stays in use. `observe` is told of every change; without it, it is logged.
    """

    __slots__ = ("_watched",)

    def __init__(
        self, path: Path, check: Callable[[str], object], observe: Observe | None = None
    ) -> None:
        """Raises OSError or ValueError, which never repeats what the file holds."""
        self._watched = WatchedFiles(
            (path,), partial(_read, path, check), observe or partial(_log, path)
        )
        super().__init__(self._watched())

    @override
    def reveal(self) -> str:
        self._text = self._watched()
        return super().reveal()


def _read(path: Path, check: Callable[[str], object]) -> str:
    # A file that is just being written is seen empty at worst, and is refused then.
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_LONGEST + 1).strip()
    if not text or len(text) > _LONGEST:
        raise ValueError("must name a file that holds the value and nothing else")
    check(text)
    return text


def _log(path: Path, *, refused: bool) -> None:
    # Imported here, because the health check reads settings too, and loads only what it needs.
    import structlog  # noqa: PLC0415

    log = structlog.get_logger("agentworkspace.files")
    if refused:
        log.error("a secret's file is not usable, keeping the last", path=str(path))
    else:
        log.info("a secret's file was read again", path=str(path))
