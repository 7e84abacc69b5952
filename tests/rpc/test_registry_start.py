"""A registry comes up, says so, and survives a database that is not there yet."""

from __future__ import annotations

from pathlib import Path

from tests.rpc.registry_server import SERVING, serving


def test_health_says_serving_for_every_service_once_the_store_answered(
    registry_database: str, tmp_path: Path
) -> None:
    with serving(registry_database, tmp_path) as running:
        for name in (
            "",
            "agentworkspace.registry.v1.TokenService",
            "agentworkspace.registry.v1.RegistrationService",
            "agentworkspace.registry.v1.WorkspaceRegistryService",
            "agentworkspace.registry.v1.AuditService",
        ):
            assert running.health(name) == SERVING
