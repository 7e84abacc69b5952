"""What tells one version of a file from the next, and who is told how a change was taken."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeAlias

# None: there is no such file, or none was named.
Signature: TypeAlias = tuple[int, int, int] | None


class Observe(Protocol):
    """Told of every changed file whether it was refused."""

    def __call__(self, *, refused: bool) -> None: ...


def unobserved(*, refused: bool) -> None:
    """For whoever counts nothing."""
    del refused


def signature(path: Path | None) -> Signature:
    """Another one when the file was written, replaced or taken away; reading it says which."""
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)
