"""Say who would pay for a workspace that does not exist yet. Reads no store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agentworkspace.core.secret import Secret
from provision_service.commands.call import Call
from provision_service.commands.deployment import Deployment
from provision_service.domain.launch_plan import LaunchPlan
from provision_service.domain.preview import preview
from provision_service.domain.records import Billing
from provision_service.domain.spec import WorkspaceSpec
from provision_service.launch import decide


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewBillingMode:
    """`auth_env_names` are taken as names of workspace secrets; an empty runtime is the default."""

    call: Call
    runtime: str = ""
    model: str = ""
    auth_env_names: frozenset[str] = frozenset()
    override: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewBillingModeResult:
    """Who would pay, and what the box would get beside its environment."""

    billing: Billing
    launch: LaunchPlan | None


# Stands for the token of a tenant that need not exist yet, since nothing is launched.
_SOME_TOKEN: Final = Secret("of the tenant that will be")


def run(command: PreviewBillingMode, deployment: Deployment) -> PreviewBillingModeResult:
    """Decide on what was asked."""
    catalogue = deployment.catalogue()
    decision = preview(
        catalogue,
        runtime=command.runtime.strip() or catalogue.default_runtime,
        model=command.model,
        credential_names=command.auth_env_names,
        override=command.override or "",
        platform=replace(deployment.platform, usage_token=_SOME_TOKEN),
    )
    spec = WorkspaceSpec(billing_mode_override=command.override or "")
    plan = decision.plan
    return PreviewBillingModeResult(
        billing=decide.billing_of(decision, spec), launch=plan.launch if plan else None
    )
