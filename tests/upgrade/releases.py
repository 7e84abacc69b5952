"""The services of an earlier commit, beside those of this checkout, in one environment."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lifecycle.processes import ROOT

_NAMED: Final = Path(__file__).with_name("earlier_release")
# What it needs to serve and to be started by a nursery of its own.
_PARTS: Final = ("protos", "registry_service", "provision_service", "tests/lifecycle/nursery.py")
_SECONDS: Final = 90.0


class NotHere(Exception):
    """The commit is not in this clone; the text says what to do about it."""


@dataclass(frozen=True)
class Release:
    """A checkout whose programs can be run."""

    root: Path

    def migrate(self, service: str, database_url: str) -> None:
        """`<service>-service migrate` as a process of its own."""
        done = self._run("-m", f"{service}_service", "migrate", url=(service, database_url))
        assert done.returncode == 0, done.stderr

    def files_of(self, *modules: str) -> list[Path]:
        """Where this release's processes find these modules."""
        program = "import importlib, sys\nfor name in sys.argv[1:]:\n"
        program += "    print(importlib.import_module(name).__file__)"
        done = self._run("-c", program, *modules)
        return [Path(line) for line in done.stdout.splitlines()]

    def _run(
        self, *arguments: str, url: tuple[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        paths = os.pathsep.join((str(self.root / "protos"), str(self.root)))
        environment = {**os.environ, "PYTHONPATH": paths}
        if url is not None:
            environment[f"{url[0].upper()}_DATABASE_URL"] = url[1]
        return subprocess.run(
            (sys.executable, *arguments),
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )


def this_release() -> Release:
    return Release(ROOT)


def earlier_commit() -> str:
    """The commit that `earlier_release` names."""
    lines = _NAMED.read_text().splitlines()
    return next(line for line in lines if not line.startswith("#"))


def unpack_earlier_release(into: Path) -> Release:
    """NotHere on a shallow clone, and where there is no git at all."""
    commit = earlier_commit()
    try:
        archive = subprocess.run(
            ("git", "archive", commit, *_PARTS), cwd=ROOT, check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        raise NotHere(
            f"commit {commit}, the earlier release, is not in this clone; `git fetch --unshallow`"
            " brings it"
        ) from None
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(into, filter="data")
    return Release(into)
