"""Puts a box's program and task into a directory, starts it with exactly its environment."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent.parent
SECONDS: Final = 100
# Set by the interpreter for itself when there is no locale at all (PEP 538).
OF_PYTHON: Final = frozenset({"LC_CTYPE"})


@dataclass(frozen=True, kw_only=True)
class Job:
    """One box to be: its directory, the program of its runtime, its environment, its question."""

    directory: Path
    program: Mapping[str, Any]
    environment: Mapping[str, str] = field(repr=False)
    question: str


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a box left behind. `text` is empty when it broke without a word."""

    text: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    contacted: tuple[tuple[str, int], ...] = ()


def run_alone(job: Job) -> Reply:
    """Start the box as a process of its own: what execve gets is the environment, no more."""
    prepare(job)
    subprocess.run(
        (sys.executable, str(HERE / "box.py")),
        cwd=job.directory,
        env=dict(job.environment),
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=SECONDS,
    )
    return reply_of(job)


class Nursery:
    """Starts many boxes, several abreast; see nursery.py."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            (sys.executable, "-m", "tests.e2e.nursery"), cwd=ROOT, env={}, stdin=subprocess.PIPE
        )

    def start(self, job: Job) -> None:
        """Returns at once; any thread may call it."""
        prepare(job)
        order = {"directory": str(job.directory), "environment": dict(job.environment)}
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(f"{json.dumps(order)}\n".encode())
            self._process.stdin.flush()

    def wait(self) -> None:
        """Until every box has ended."""
        try:
            self._process.communicate(timeout=SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
        assert self._process.returncode == 0


def run_all(jobs: Sequence[Job]) -> list[Reply]:
    """Run these boxes to their end."""
    nursery = Nursery()
    for job in jobs:
        nursery.start(job)
    nursery.wait()
    return [reply_of(job) for job in jobs]


def prepare(job: Job) -> None:
    job.directory.mkdir(parents=True)
    (job.directory / "program.json").write_text(json.dumps(job.program))
    (job.directory / "task.json").write_text(json.dumps({"question": job.question}))


def reply_of(job: Job) -> Reply:
    path = job.directory / "reply.json"
    if not path.exists():
        return Reply(text="")
    found = json.loads(path.read_text())
    environment = found["environment"]
    return Reply(
        text=found["text"],
        environment={
            name: value
            for name, value in environment.items()
            if name not in OF_PYTHON or name in job.environment
        },
        contacted=tuple((host, port) for host, port in found["contacted"]),
    )
