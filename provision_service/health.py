"""`provision-service health` without the rest of the service, which would take a second to load."""

from __future__ import annotations

from agentworkspace.service import health_check
from provision_service.config import Settings


def main() -> int:
    """Run `provision-service health`; returns the exit status."""
    return health_check.main(Settings)
