"""Identity of agent workspaces: tokens, registration, incarnations, liveness."""

from __future__ import annotations

import sys

from agentworkspace.core import installation


def main() -> int:
    """The command `registry-service`, or what to install for it."""
    module = "health" if sys.argv[1:2] == ["health"] else "__main__"
    return installation.run("registry-service", f"registry_service.{module}", extra="server")
