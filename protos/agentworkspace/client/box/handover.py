"""Starts the runner again without its environment, so that nobody can read it from /proc.

The environment that a process was started with stays readable under /proc for as long as it
lives, whatever it does to its own variables. So the runner puts all of them into an unnamed file
and executes itself again with a handful of harmless ones. The process id stays.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

# What Python and gRPC need to start. No proxy variables: they may be the tenant's, who must not
# decide how the runner reaches the registry.
_KEPT: Final = frozenset(
    {"HOME", "LANG", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER"}
    | {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "GRPC_DNS_RESOLVER", "GRPC_TRACE", "GRPC_VERBOSITY"}
)
_KEPT_BEGINNINGS: Final = ("LC_", "PYTHON")
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36


def start_again(
    module: str, options: Mapping[str, Any], environ: Mapping[str, str], *, shown: Sequence[str]
) -> NoReturn:
    """Replace this process by `module`, which gets options and environment from `handed_over`.

    `shown` are the words that a list of processes shows after the module's name.
    """
    handed = {"options": dict(options), "environment": dict(environ)}
    descriptor = _put_away(json.dumps(handed).encode("ascii"))
    kept = {
        name: value
        for name, value in environ.items()
        if name in _KEPT or name.startswith(_KEPT_BEGINNINGS)
    }
    # -P: the working directory is the workspace's, and nothing may be imported from it.
    words = (sys.executable, "-P", "-m", module, str(descriptor), *shown)
    os.execve(sys.executable, words, kept)  # noqa: S606 - that is the point


def handed_over(descriptor: int) -> tuple[Mapping[str, Any], dict[str, str]]:
    """(options, environment) that the runner was first started with. They can be read once."""
    with os.fdopen(descriptor, "rb") as file:
        handed: Any = json.load(file)
    return handed["options"], handed["environment"]


def harden() -> None:
    """On Linux, keep other processes of this user from looking into this one, and adopt the
    orphans among its descendants. Elsewhere, do nothing."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _put_away(data: bytes) -> int:
    """A descriptor of an unnamed file with the data, which the next program inherits."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("environment")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - it takes no keyword
    with os.fdopen(os.dup(descriptor), "wb") as target:
        target.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
