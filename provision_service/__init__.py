"""The launch of agent workspaces, from a workspace's spec to the exact environment of its box."""

from __future__ import annotations

import sys

from agentworkspace.core import installation


def main() -> int:
    """The command `provision-service`, or what to install for it."""
    module = "health" if sys.argv[1:2] == ["health"] else "__main__"
    return installation.run("provision-service", f"provision_service.{module}", extra="server")
