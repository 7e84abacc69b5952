"""The exit status of a command, also when it is interrupted or a file cannot be used."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Final

FAILED: Final = 1
INTERRUPTED: Final = 130
_OUTPUT_TAKES_NO_MORE: Final = (errno.EPIPE, errno.ENOSPC)


def outcome(name: str, command: Callable[[], int]) -> int:
    """Run the command and flush what it printed; returns the exit status.

    An OSError becomes a sentence on standard error, and Ctrl-C ends it silently with 130.
    """
    try:
        status = command()
        if sys.stdout is not None:  # None where it was closed from the start
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        print(f"{name}: {_told(error)}", file=sys.stderr)
        return FAILED
    return status


def _told(error: OSError) -> str:
    if error.filename is not None:
        return f"cannot use {error.filename}: {error.strerror}; name one that this user may use"
    if error.errno not in _OUTPUT_TAKES_NO_MORE:
        return str(error)
    # Python would report the same fault again when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return f"standard output cannot be written: {error.strerror}"
