"""Identity of agent workspaces: tokens, registration, incarnations, liveness."""

from __future__ import annotations

from agentworkspace.core import installation


def main() -> int:
    """The command `registry-service`, or what to install for it."""
    return installation.run("registry-service", "registry_service.__main__", extra="server")
