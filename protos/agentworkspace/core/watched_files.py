"""What tells one version of a file from the next, and who is told how a change was taken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
# None: there is no such file, or none was named.
Signature: TypeAlias = tuple[int, int, int, int] | None


class Observe(Protocol):
    """Told of every changed file whether it was refused."""

    def __call__(self, *, refused: bool) -> None: ...


def unobserved(*, refused: bool) -> None:
    """For whoever counts nothing."""
    del refused


def signature(path: Path | None) -> Signature:
    """Another one when the file was written, replaced, taken away, or its mode changed."""
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)


class WatchedFiles(Generic[T]):
    """What was made of some files, made again by the first call after one of them changed.

    What `make` raises at first is raised. Later files that are missing or of no use (OSError,
    ValueError) leave in force what was made last; `observe` is told of every change.
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
        """What is in force; for any thread."""
        with self._lock:
            seen = self._signatures()
            if seen != self._seen:
                # Noted before they are read: what changes meanwhile is another change.
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
