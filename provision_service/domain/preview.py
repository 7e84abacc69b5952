"""A resolution from names alone, for a workspace that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

from provision_service.catalogue.catalogue import Catalogue
from provision_service.domain.decision import Decision, Inputs, decide
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.secrets import named_only
from provision_service.domain.spec import WorkspaceSpec


def preview(
    catalogue: Catalogue,
    *,
    runtime: str,
    model: str,
    credential_names: Iterable[str],
    override: str,
    platform: PlatformProxy,
) -> Decision:
    """Decide as for a launch; the names count as credentials set on the workspace itself.

    Only names that some provider accepts as a credential matter; others are left out.
    """
    accepted = {
        name
        for provider in catalogue.providers.values()
        if not provider.is_platform
        for name in provider.auth_env
    }
    spec = WorkspaceSpec(runtime=runtime, billing_mode_override=override)
    return decide(
        Inputs(
            workspace_id="",
            spec=spec,
            request_model=model,
            secrets=named_only(name for name in credential_names if name in accepted),
            catalogue=catalogue,
            platform=platform,
        )
    )
