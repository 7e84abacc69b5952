"""Several processes on one port: forked before anything runs, watched, stopped together.

The parent only holds the port and waits. gRPC does not survive a fork, so it must not be used
before, and no thread may run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import Final

import structlog

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# How long to wait before a process that ended by itself is started again.
PAUSE_SECONDS: Final = 1.0
# A process that exits with this status would only fail again, and is not started again.
CANNOT_SERVE: Final = 2


@contextlib.contextmanager
def reserved(listen: str) -> Iterator[str]:
    """Hold the port, without taking calls on it, and yield the address to listen on.

    OSError when somebody else listens there, which SO_REUSEPORT alone would hide.
    """
    host, _, port = listen.rpartition(":")
    plain = host.strip("[]")
    family = socket.AF_INET6 if ":" in plain else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((plain, int(port)))
    with socket.socket(family, socket.SOCK_STREAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((plain, int(port)))
        yield f"{host}:{holder.getsockname()[1]}"


class Supervisor:
    """Runs `work(index)`, which returns an exit status, in each of `count` processes.

    `service` names the log's source: `registry` or `provision`.
    """

    def __init__(self, service: str, work: Callable[[int], int], count: int) -> None:
        self._work = work
        self._count = count
        self._children: dict[int, int] = {}
        self._stopping = False
        self._log = structlog.get_logger(f"{service}.supervisor")

    def run(self) -> int:
        """Run until a stop signal, or until a process exits with CANNOT_SERVE.

        Returns the exit status: 0 when all ended well, CANNOT_SERVE, or else 1.
        """
        previous = {number: signal.signal(number, self._on_stop) for number in STOP_SIGNALS}
        try:
            for index in range(self._count):
                if not self._stopping:
                    self._fork(index)
            return self._watch()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _watch(self) -> int:
        worst = 0
        while self._children:
            try:
                pid, status = os.wait()
            except InterruptedError:
                continue
            index = self._children.pop(pid, None)
            if index is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            if code == CANNOT_SERVE:
                worst = code
                self._stop_all()
            elif not self._stopping:
                self._log.warning("a process ended and is started again", process=index, code=code)
                time.sleep(PAUSE_SECONDS)
                if not self._stopping:
                    self._fork(index)
            elif code not in (0, -signal.SIGTERM):
                worst = worst or 1
        return worst

    def _fork(self, index: int) -> None:
        # Signals are blocked, so that none between fork and set-up is lost in either process.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._become(index, blocked)
            self._children[pid] = index
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _become(self, index: int, mask: set[signal.Signals | int]) -> None:
        code = 1
        try:
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            code = self._work(index)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            # Not sys.exit, which would also clean up what belongs to the parent.
            os._exit(code)

    def _on_stop(self, _number: int, _frame: types.FrameType | None) -> None:
        self._stop_all()

    def _stop_all(self) -> None:
        self._stopping = True
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
