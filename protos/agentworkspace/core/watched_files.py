"""Files that are read again after they changed, and how their changes are reported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
# (mtime in ns, size, inode, mode). None: there is no such file, or no path was given.
Signature: TypeAlias = tuple[int, int, int, int] | None


class Observe(Protocol):
    """Called after every change of a watched file; `refused`: what is in it cannot be used."""

    def __call__(self, *, refused: bool) -> None: ...


def unobserved(*, refused: bool) -> None:
    """The `Observe` that ignores what it is told."""
    del refused


def signature(path: Path | None) -> Signature:
    """Differs once the file was written, replaced or removed, or its mode changed."""
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)


class WatchedFiles(Generic[T]):
    """The result of `make`, which reads some files; made again by the first call after a change.

    The constructor raises whatever `make` raises. Later, when `make` raises OSError or ValueError,
    the last good result stays in force. `observe` is told of every change.
    """

    def __init__(
        self, paths: Iterable[Path], make: Callable[[], T], observe: Observe = unobserved
    ) -> None:
        self._paths = tuple(paths)
        self._make = make
        self._observe = observe
        self._lock = threading.Lock()
        self._seen = self._signatures()
        self._made = make()

    def __call__(self) -> T:
        """The result in force. Any thread may call."""
        with self._lock:
            seen = self._signatures()
            if seen != self._seen:
                # Noted before the files are read: a change during the read counts as another.
                self._seen = seen
                try:
                    self._made = self._make()
                except (OSError, ValueError):
                    self._observe(refused=True)
                else:
                    self._observe(refused=False)
            return self._made

    def _signatures(self) -> list[Signature]:
        return list(map(signature, self._paths))
