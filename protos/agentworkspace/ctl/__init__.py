"""`workspacectl`: the operator's command line for both services."""

from __future__ import annotations

import os

from agentworkspace.core import installation

# gRPC reads this when it is imported, which is later. Its own log lines would only repeat what the
# failure says, and spoil the one document that a machine reads from standard error.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def main() -> int:
    """Run `workspacectl`, or say what to install for it. The exit status."""
    return installation.run("workspacectl", "agentworkspace.ctl.main", extra="ctl")
