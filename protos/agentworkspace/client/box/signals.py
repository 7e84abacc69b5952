"""Signals, and news of other threads, as one sequence of events for the runner's main thread."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType
from typing import Final

# Signals that whoever manages the box sends to the runner, and means for the command.
HANDED_ON: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGCONT,
)
# Signals after which a process is expected to end.
ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
_NEWS: Final = 0


class Events:
    """Takes signal handling over: signals interrupt nothing, and `next` returns them in turn."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        os.set_blocking(self._read, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for each in (*HANDED_ON, signal.SIGCHLD):
            signal.signal(each, _noted)
        # Taking the terminal back while in the background would stop this process.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)

    def tell(self) -> None:
        """Wake the main thread, to look at what has changed. Any thread may call."""
        os.write(self._write, bytes((_NEWS,)))

    def next(self, seconds: float | None = None) -> int | None:
        """Wait for an event, at most `seconds`. A signal to hand on, if it is one; else None.

        None: the time is over, a child has ended, or another thread called `tell`.
        """
        readable, _, _ = select.select((self._read,), (), (), seconds)
        if not readable:
            return None
        (number,) = os.read(self._read, 1)
        return number if number in HANDED_ON else None


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the byte that Python has written into the pipe is enough."""
