"""Processes that a bench starts, and what they cost, read from /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2_grpc

from deploy.process import serves

ROOT: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class NotStarted(Exception):
    """With the last lines of its output."""


@dataclass(frozen=True, slots=True)
class Process:
    """One that was started here, with its children."""

    pid: int
    log: Path

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def memory_mib(self) -> float:
        return memory_mib(self.pid)

    def workers(self) -> tuple[int, ...]:
        """Those that were forked to serve: its children."""
        return tuple(each for each in _family(self.pid) if each != self.pid)


@contextmanager
def started(
    arguments: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Run it until the block ends; it is ended by its own process id."""
    paths = os.pathsep.join((str(ROOT / "protos"), str(ROOT)))
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(arguments),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Process(child.pid, log)
    finally:
        if child.poll() is None:
            child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def module(
    name: str,
    *arguments: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> Iterator[Process]:
    """A module of this project, run by this very interpreter unless another is named."""
    with started((python, "-m", name, *arguments), log=log, environment=environment) as process:
        yield process


def wait_until_serving(process: Process, address: str) -> None:
    give_up = time.monotonic() + START_SECONDS
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while not serves(health):
            if time.monotonic() > give_up or not _runs(process.pid):
                raise NotStarted(_tail(process.log))
            time.sleep(0.05)


def wait_until_listening(process: Process, address: str) -> None:
    """For a server that has no health."""
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(START_SECONDS)
        except grpc.FutureTimeoutError:
            raise NotStarted(_tail(process.log)) from None


def cpu_seconds(pid: int) -> float:
    """Of a process and all that live below it; PostgreSQL's of those that have ended, too."""
    return sum(_cpu_of(each) for each in _family(pid))


def memory_mib(pid: int) -> float:
    """Proportional: what several share counts once."""
    total = 0
    for each in _family(pid):
        try:
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total / 1024


def _cpu_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    # utime, stime, and those of children that were waited for.
    return sum(int(ticks) for ticks in fields[11:15]) / _TICKS


def _family(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found.append(each)
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def wait_until_ended(process: Process) -> None:
    give_up = time.monotonic() + START_SECONDS
    while _runs(process.pid):
        if time.monotonic() > give_up:
            raise NotStarted(_tail(process.log))
        time.sleep(0.05)
