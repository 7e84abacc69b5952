"""The launch of agent workspaces, from a workspace's spec to the exact environment of its box."""

from __future__ import annotations

from agentworkspace.core import installation


def main() -> int:
    """The command `provision-service`, or what to install for it."""
    return installation.run("provision-service", "provision_service.__main__", extra="server")
