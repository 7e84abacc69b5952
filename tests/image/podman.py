"""Podman with a storage of its own, so that what is on the machine already is never touched."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests import debian

# What runs containers, and the Debian package that has it.
PROGRAMS: Final = {
    "podman": "podman",
    "runc": "runc",
    "iptables": "iptables",
    "netavark": "netavark",
    "aardvark-dns": "aardvark-dns",
}
# A machine that is a container itself may not raise its limits.
LIMITS: Final = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")


class Failed(Exception):
    """A command of Podman ended with an error; the text is what it said."""


@dataclass(frozen=True)
class Podman:
    """All that it has lies in `scratch`."""

    scratch: Path

    def __call__(self, *words: str, timeout: float = 300.0) -> str:
        """What the command printed. Raises Failed."""
        done = self.attempt(*words, timeout=timeout)
        if done.returncode != 0:
            raise Failed(f"podman {words[0]} ended with {done.returncode}:\n{done.stderr[-4000:]}")
        return done.stdout.strip()

    def attempt(self, *words: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail."""
        own = (
            f"--root={self.scratch / 'storage'}",
            f"--runroot={self.scratch / 'run'}",
            f"--tmpdir={self.scratch / 'tmp'}",
            f"--network-config-dir={self.scratch / 'networks'}",
            # Neither systemd nor cgroups of one version only are needed for these.
            "--runtime=runc",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
        )
        # In files: a container's monitor would hold a pipe open for as long as the container runs.
        output, errors = self.scratch / "stdout", self.scratch / "stderr"
        with output.open("w") as out, errors.open("w") as err:
            status = subprocess.run(
                ("podman", *own, *words),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=timeout,
                check=False,
            ).returncode
        return subprocess.CompletedProcess(words, status, output.read_text(), errors.read_text())

    def remove_everything(self) -> None:
        """Containers, networks and images: what is mounted, routed or running outlives no test."""
        for words in (
            ("rm", "--all", "--force", "--time=0", "--volumes"),
            ("network", "prune", "--force"),
            ("rmi", "--all", "--force"),
        ):
            self.attempt(*words)


def require_programs() -> None:
    """Install what is missing. debian.Missing says what cannot be had."""
    if os.geteuid() != 0:
        raise debian.Missing("only root can make the networks of containers; run it as root")
    for name, package in PROGRAMS.items():
        debian.program(name, package)
