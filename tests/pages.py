"""The shell blocks of the pages of deploy/, and a shell that runs them as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DEPLOY: Final = Path(__file__).resolve().parents[1] / "deploy"
_BLOCK: Final = re.compile(r"^( *)```sh\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_SECONDS: Final = 280


def blocks(page: str, section: str | None = None) -> list[str]:
    """In their order; of one section, up to the next of its level."""
    text = (DEPLOY / page).read_text()
    if section is not None:
        _, found, text = text.partition(f"\n## {section}\n")
        assert found, f"{page} has no section {section}"
        text = text.partition("\n## ")[0]
    return [textwrap.dedent(block) for _, block in _BLOCK.findall(text)]


def run(directory: Path, environment: Mapping[str, str], *scripts: str) -> str:
    """Run them in one shell that ends at the first failure; what was printed on either side."""
    own = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ("bash", "-eu", "-o", "pipefail", "-c", "\n".join(scripts)),
        cwd=directory,
        env={"PATH": own, "HOME": str(directory), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
