"""The service on two Pythons, in turn on one database: what a newer one brings."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.bench import pair, suite
from tests.bench.bench import Bench, say
from tests.bench.database import Server

NEWEST: Final = 16
# What the service cannot do without, and no Python brings.
_ASK: Final = (
    "import grpc, psycopg2, sqlalchemy, structlog, uvloop, platform;"
    " print(platform.python_version())"
)


def beside(bench: Bench, server: Server, home: Path, tokens: int, given: str | None) -> None:
    """The hot rows of the registry with this Python and with a newer one, where there is one."""
    say("── this Python and a newer one")
    newer = _newer(given)
    if newer is None:
        say(
            "   not compared: no newer Python that has the services' packages; make one, e.g. "
            "python3.13 -m venv NEWER && NEWER/bin/pip install -r deploy/locks/server.txt, and "
            "say --python NEWER/bin/python"
        )
        return
    program, version = newer
    name = server.registry_with(tokens)
    for python, number in ((sys.executable, platform.python_version()), (program, version)):
        with pair.registry(server, name, home / "registry", python=python) as served:
            for case in suite.registry_cases(tokens):
                named = replace(case, name=f"{case.name}, Python {number}")
                bench.measure(named, served, tokens=tokens, count=1, stores={})


def _newer(given: str | None) -> tuple[str, str] | None:
    """Program and version of the one that was named, or of the newest on the PATH."""
    names = (
        [given]
        if given
        else [f"python3.{minor}" for minor in range(NEWEST, sys.version_info.minor, -1)]
    )
    for name in names:
        program = shutil.which(name)
        if program is None:
            continue
        asked = subprocess.run((program, "-c", _ASK), capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            return program, asked.stdout.strip()
    return None
