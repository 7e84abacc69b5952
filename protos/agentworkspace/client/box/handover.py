"""Starting again without the environment, so that nothing can read it from this process.

The environment that a process was started with stays readable under /proc for as long as it
lives, whatever it does to its own variables. So the runner puts all of them into a file that has
no name, and replaces itself by itself with a handful of harmless variables. The process id stays.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

# What Python and gRPC need to start. No proxy variables: they may be the tenant's, and the
# runner's way to the registry is none of the tenant's business.
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
    """Run `module` in this process's place; it takes both from `handed_over`.

    `shown`: what stands behind, for whoever looks at the list of processes.
    """
    handed = {"options": dict(options), "environment": dict(environ)}
    descriptor = _put_away(json.dumps(handed).encode("ascii"))
    kept = {
        name: value
        for name, value in environ.items()
        if name in _KEPT or name.startswith(_KEPT_BEGINNINGS)
    }
    # -P: what lies in the working directory is the workspace's, and not to be imported here.
    words = (sys.executable, "-P", "-m", module, str(descriptor), *shown)
    os.execve(sys.executable, words, kept)  # noqa: S606 - that is the point


def handed_over(descriptor: int) -> tuple[Mapping[str, Any], dict[str, str]]:
    """(options, environment) that the runner was really started with; nobody can read it again."""
    with os.fdopen(descriptor, "rb") as file:
        handed: Any = json.load(file)
    return handed["options"], handed["environment"]


def harden() -> None:
    """Where the system can (Linux): other processes of this user cannot look into this one, and
    what its descendants leave behind becomes its own child."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _put_away(data: bytes) -> int:
    """A descriptor that survives the start of another program, of a file that nobody can name."""
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
