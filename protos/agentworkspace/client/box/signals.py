"""Signals, and news of other threads, as one sequence of events for the runner's main thread."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType
from typing import Final

# What whoever manages the box sends to it, and is meant for the command.
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
# Those after which a process is expected to end.
ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
_NEWS: Final = 0


class Events:
    """From now on no signal interrupts anything: `next` answers them, one at a time."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        os.set_blocking(self._read, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for each in (*HANDED_ON, signal.SIGCHLD):
            signal.signal(each, _noted)
        # Giving the terminal back from the background would stop this process.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)

    def tell(self) -> None:
        """Wake the main thread: there is something to look at. Any thread may call."""
        os.write(self._write, bytes((_NEWS,)))

    def next(self, seconds: float | None = None) -> int | None:
        """A signal to hand on; None when it is time to look around for another reason."""
        readable, _, _ = select.select((self._read,), (), (), seconds)
        if not readable:
            return None
        (number,) = os.read(self._read, 1)
        return number if number in HANDED_ON else None


def _noted(_number: int, _frame: FrameType | None) -> None:
    """The byte in the pipe is all that is wanted."""
