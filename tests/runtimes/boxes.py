"""A box inside the rig: the real program, started as a launcher starts it, and what was seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.runtimes.answers import KNOWN
from tests.runtimes.arrivals import Arrival
from tests.runtimes.programs import Program
from tests.runtimes.rig import Rig

QUESTION: Final = "Say the known answer."
# Patient, because of slow programs on machines with much else to do.
SECONDS: Final = 240


@dataclass(frozen=True, kw_only=True)
class Run:
    """One program's life: what it said, who heard from it, and which names it looked up."""

    output: str
    code: int | None
    arrivals: tuple[Arrival, ...]
    asked: frozenset[str]

    @property
    def answered(self) -> bool:
        return KNOWN in self.output


def by_itself(program: Program) -> list[str]:
    """The command of a launcher that knows of no runner."""
    return program.asking(QUESTION)


def through_the_runner(program: Program, behind: Iterable[str] = ()) -> list[str]:
    """The command of an image: our runner, and the program with a user's own arguments.

    `behind` stands between the two, where a saboteur would.
    """
    runner = str(Path(sys.executable).with_name("agentworkspace-box"))
    return [runner, "run", "--", *behind, *program.asking(QUESTION)]


def run(
    rig: Rig,
    program: Program,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    files: Mapping[str, str] | None = None,
    seconds: float = SECONDS,
) -> Run:
    """Start it with this environment and what any image has; wait for its end.

    Its home is empty but for `files`: text by path below it. It is the directory to work in, too.
    """
    rig.forget()
    with tempfile.TemporaryDirectory(prefix="agentworkspace-box-") as home:
        for path, text in (files or {}).items():
            file = Path(home, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        image = {"PATH": program.path, "HOME": home, "LANG": "C.UTF-8", "TERM": "dumb"}
        process = subprocess.Popen(
            command,
            cwd=home,
            env={**image, **rig.trust, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Whatever it leaves running ends with it, and it alone.
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=seconds)
            code: int | None = process.returncode
        except subprocess.TimeoutExpired as late:
            code, output = None, _text(late.output)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return Run(
        output=output,
        code=code,
        arrivals=tuple(rig.arrivals),
        asked=frozenset(rig.asked),
    )


def _text(output: object) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else str(output or "")
