"""The version of this installation, and how a command starts when its extra is installed or not."""

from __future__ import annotations

import sys
from importlib import import_module, metadata
from typing import Final

DISTRIBUTION: Final = "agentworkspace"
_OURS: Final = ("agentworkspace", "registry_service", "provision_service")
CANNOT_START: Final = 2


def package_version() -> str:
    """The installed version, such as `0.1.0`; empty in a checkout that is not installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return ""


def version_of(command: str) -> str:
    """What a command answers to `--version`."""
    return f"{command} {package_version() or '(run from a checkout that is not installed)'}"


def run(command: str, module: str, *, extra: str) -> int:
    """Run `module.main()` and return its exit status.

    When a third-party package is missing, print which `extra` brings it and return 2. A module of
    our own that cannot be imported is a fault, and its ModuleNotFoundError is raised.
    """
    try:
        main = import_module(module).main
    except ModuleNotFoundError as missing:
        name = (missing.name or "").partition(".")[0]
        if name in _OURS:
            raise
        print(
            f"{command} needs {name}, which the base installation leaves out:"
            f" install {DISTRIBUTION}[{extra}]",
            file=sys.stderr,
        )
        return CANNOT_START
    status: int = main()
    return status
