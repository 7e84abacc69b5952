"""Identity of agent workspaces: tokens, registration, incarnations, liveness."""

from __future__ import annotations

import sys

from agentworkspace.core import installation


def main() -> int:
    """Run the command `registry-service`; without the extra `server`, say what to install.

    Returns the exit status.
    """
    module = "health" if sys.argv[1:2] == ["health"] else "__main__"
    return installation.run("registry-service", f"registry_service.{module}", extra="server")
