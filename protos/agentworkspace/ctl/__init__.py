"""`workspacectl`: what an operator asks both services, and how the answers are shown."""

from __future__ import annotations

import os

from agentworkspace.core import installation

# Read when gRPC is imported, which is after this. What it would write to standard error, an
# operator learns from the failure, and a machine expects one document there.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def main() -> int:
    """The command `workspacectl`, or what to install for it."""
    return installation.run("workspacectl", "agentworkspace.ctl.main", extra="ctl")
