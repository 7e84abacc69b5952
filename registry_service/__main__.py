"""`registry-service`: what is its own in the command line that both services have."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from agentworkspace.service.command_line import CommandLine
from registry_service.config import Settings
from registry_service.server import serve
from registry_service.storage.schema import AUDIT, SCHEMA

COMMAND_LINE: Final = CommandLine(
    name="registry",
    description="Identity of agent workspaces, over gRPC.",
    settings=Settings,
    schema=SCHEMA,
    audit=AUDIT,
    serve=serve,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """What `registry-service` runs; answers the exit status."""
    return COMMAND_LINE.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
