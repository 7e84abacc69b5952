"""Set or unset who pays for a workspace; what a launch would refuse is a warning here."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands import access
from provision_service.commands.call import Call, record
from provision_service.commands.deployment import Deployment
from provision_service.domain.billing import BillingMode
from provision_service.domain.records import Billing
from provision_service.domain.step import Notice
from provision_service.launch import decide
from provision_service.storage import workspaces
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBillingModeOverride:
    """`mode` None goes back to the derived payer."""

    call: Call
    workspace_id: str
    mode: BillingMode | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBillingModeOverrideResult:
    """Who pays now."""

    billing: Billing
    warnings: tuple[Notice, ...]


def run(
    store: Store, command: SetBillingModeOverride, deployment: Deployment
) -> SetBillingModeOverrideResult:
    """Set it; the same mode again writes nothing. What would not launch now is a warning: refused
    here, payer and key could never be changed one after the other.
    """
    files = decide.Files(deployment)
    wanted = command.mode.value if command.mode is not None else ""
    with store.transaction() as tx:
        held = access.lock_living_workspace(tx, command.call, command.workspace_id)
        if held.workspace.spec.billing_mode_override != wanted:
            workspaces.change_spec(
                tx, command.workspace_id, {"billing_mode_override": wanted or None}
            )
            record(
                tx,
                command.call,
                "billing.override",
                tenant_id=held.workspace.tenant_id,
                workspace_id=command.workspace_id,
                details={
                    "from": held.workspace.spec.billing_mode_override[:64],
                    "to": wanted,
                },
            )
            held = access.read_workspace(tx, command.call, command.workspace_id)
        _, decision = decide.decide_stored(tx, deployment, files, held)
    return SetBillingModeOverrideResult(
        billing=decide.billing_of(decision, held.workspace.spec),
        warnings=decide.warnings_of(decision),
    )
