"""Say who pays for a workspace, by the same decision that a launch takes."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands import access
from provision_service.commands.call import Call
from provision_service.commands.deployment import Deployment
from provision_service.domain.launch_plan import LaunchPlan
from provision_service.domain.records import Billing
from provision_service.launch import decide
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveBillingMode:
    """Which workspace."""

    call: Call
    workspace_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveBillingModeResult:
    """Who pays, why a launch would be refused now, and what a box gets beside its environment."""

    billing: Billing
    launch: LaunchPlan | None


def run(
    store: Store, command: ResolveBillingMode, deployment: Deployment
) -> ResolveBillingModeResult:
    """Decide on what is stored."""
    files = decide.Files(deployment)
    with store.reading() as tx:
        held = access.read_workspace(tx, command.call, command.workspace_id)
        _, decision = decide.decide_stored(tx, deployment, files, held)
    billing = decide.billing_of(decision, held.workspace.spec)
    plan = decision.plan
    return ResolveBillingModeResult(billing=billing, launch=plan.launch if plan else None)
