"""The launch of agent workspaces, from a workspace's spec to the exact environment of its box."""

from __future__ import annotations

import sys

from agentworkspace.core import installation


def main() -> int:
    """Run the command `provision-service`; without the extra `server`, say what to install."""
    module = "health" if sys.argv[1:2] == ["health"] else "__main__"
    return installation.run("provision-service", f"provision_service.{module}", extra="server")
