"""Programs of Debian's packages that a test or the bench uses, installed when that can be done."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final

import pytest

# Daemons lie where only root's PATH leads, what Podman calls where none does.
_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/podman"


class Missing(Exception):
    """The program is not here and could not be installed; the text says what to do about it."""


def program(name: str, package: str) -> str:
    """Its path. Missing otherwise."""
    found = shutil.which(name, path=_PATH)
    if found:
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Missing(f"{name} is not here; install {package} (apt-get install {package})")
    for command in (("update",), ("install", "--yes", "--no-install-recommends", package)):
        subprocess.run(
            ("apt-get", "--quiet", *command),
            check=False,
            capture_output=True,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    found = shutil.which(name, path=_PATH)
    if not found:
        raise Missing(f"apt-get could not install {package}; install it by hand")
    return found


def program_or_skip(name: str, package: str) -> str:
    """As `program`; the test that asks is skipped, by name and with the reason, where it is
    missing.
    """
    try:
        return program(name, package)
    except Missing as missing:
        pytest.skip(str(missing))
