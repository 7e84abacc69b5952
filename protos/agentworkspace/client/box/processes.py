"""The command and whatever it started: starts it, passes signals on, and ends all of it."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# The runner ignores these signals; the command must start with their default actions.
_DEFAULTS: Final = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTTOU)
# How often to look for what no event tells of.
LOOK_SECONDS: Final = 0.05
# A daemon's first process often ends before the second has made a session of its own.
_SETTLE_SECONDS: Final = 1.0
# What is still there so long after SIGKILL is another user's, or hangs in the kernel.
_KILL_SECONDS: Final = 5.0


class CannotStart(Exception):
    """The command cannot be started. `status` is a shell's: 127 for not found, else 126."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Process:
    """A living process, from its /proc/<pid>/stat; parent and session are ids."""

    pid: int
    parent: int
    session: int
    name: str


class Command:
    """The command, in a process group of its own and in front of the terminal, if there is one."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it, with exactly this environment. Raises CannotStart."""
        program = _found(words[0], environment)
        try:
            self.pid = os.posix_spawn(
                program, list(words), dict(environment), setpgroup=0, setsigdef=_DEFAULTS
            )
        except OSError as error:
            raise CannotStart(f"cannot start {words[0]}: {error.strerror}", 126) from error
        self.status: int | None = None
        # By time.monotonic; infinity while the command runs.
        self._settled = math.inf
        self._terminal = _terminal_of(os.getpgrp())
        self._give_terminal(self.pid)

    def reap(self) -> bool:
        """Collect every child that has ended; whether any child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.status = _as_exit_status(status)
                self._settled = time.monotonic() + _SETTLE_SECONDS
                self._give_terminal(os.getpgrp())

    def hand_on(self, number: int) -> None:
        """Pass a signal on to the command; once it has ended, to all that it left running."""
        if self.status is None:
            _send(self.pid, number)
        else:
            self.send_to_all(number)

    def daemons(self) -> list[Process]:
        """Descendants in sessions of their own, which is how daemons live."""
        own = os.getsid(0)
        return [each for each in descendants() if each.session != own]

    def settles(self) -> bool:
        """Whether what it left may yet become a daemon: it runs, or has only just ended."""
        return time.monotonic() < self._settled

    def send_to_all(self, number: int) -> None:
        """Send a signal to everything that the command started, daemons included.

        Where none is found, as without /proc: to the command's process group.
        """
        found = descendants()
        for each in found:
            _send(each.pid, number)
        if not found:
            _send_to_group(self.pid, number)

    def kill_all(self) -> bool:
        """Kill until nothing is left; False when something is left after a few seconds."""
        give_up = time.monotonic() + _KILL_SECONDS
        while self.reap():
            if time.monotonic() >= give_up:
                return False
            self.send_to_all(signal.SIGKILL)
            time.sleep(LOOK_SECONDS)
        return True

    def _give_terminal(self, group: int) -> None:
        if self._terminal is None:
            return
        try:
            os.tcsetpgrp(self._terminal, group)
        except OSError:
            return  # the terminal has gone, or is somebody else's by now
        if group == self.pid:
            # It was stopped if it read from the terminal before it was in the foreground.
            _send_to_group(group, signal.SIGCONT)


def descendants() -> list[Process]:
    """Every living descendant of this process; none where there is no /proc."""
    if sys.platform != "linux":
        return []
    children: dict[int, list[Process]] = {}
    for each in _all():
        children.setdefault(each.parent, []).append(each)
    found: list[Process] = []
    waiting = [os.getpid()]
    while waiting:
        own = children.get(waiting.pop(), [])
        found += own
        waiting += [each.pid for each in own]
    return found


def _all() -> list[Process]:
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                stat = (directory / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # it ended while we looked
            # The name stands in parentheses and may itself contain some.
            before, _, after = stat.rpartition(")")
            state, parent, _, session, *_ = after.split()
            if state not in "ZX":
                name = before.partition("(")[2]
                found.append(Process(int(directory.name), int(parent), int(session), name))
    return found


def _found(name: str, environment: Mapping[str, str]) -> str:
    path = shutil.which(name, path=environment.get("PATH", os.defpath))
    if path is not None:
        return path
    if "/" in name and Path(name).exists():
        raise CannotStart(f"{name} is not executable", 126)
    raise CannotStart(f"{name} was not found", 127)


def _terminal_of(group: int) -> int | None:
    """Standard input, if it is a terminal that this process group has in the foreground."""
    try:
        return 0 if os.tcgetpgrp(0) == group else None
    except OSError:
        return None


def _as_exit_status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _send(pid: int, number: int) -> None:
    # It has ended, or runs as another user by now.
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _send_to_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
