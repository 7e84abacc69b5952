"""End the claim of a launch: the box was started, or it could not be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from provision_service.commands import access
from provision_service.commands.call import Call, record
from provision_service.domain.launch import WorkspaceEvent, status_after
from provision_service.domain.lifecycle import ProvisionOutcome, ProvisionState
from provision_service.domain.records import Provision, ProvisionError
from provision_service.launch import holding
from provision_service.storage import provisions, workspaces
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteProvision:
    """`error` goes with FAILED; it may be None."""

    call: Call
    provision_id: str
    outcome: ProvisionOutcome
    error: ProvisionError | None = None


_UNEXPLAINED: Final = ProvisionError(code="LAUNCH_FAILED", message="the launcher gave no reason")


def run(store: Store, command: CompleteProvision) -> Provision:
    """End the claim; the same outcome again is a no-op.

    `rerun_required` says that the inputs changed since the environment was built. Raises
    PROVISION_UNKNOWN, PROVISION_SUPERSEDED; then nothing was written.
    """
    with store.transaction() as tx:
        provision, now = holding.lock(tx, command.call, command.provision_id)
        if provision.complete_time is not None and provision.outcome is command.outcome:
            return provision
        if provision.outcome is not None:
            raise access.superseded(provision.id, f"it was completed as {provision.outcome}")
        if provision.state not in holding.PAST_THE_CLAIM:
            holding.require_claim(provision, now)
        _complete(tx, command, provision)
        provision, _ = access.read_provision(tx, command.call, provision.id)
    return provision


def _complete(tx: Connection, command: CompleteProvision, provision: Provision) -> None:
    failed = command.outcome is ProvisionOutcome.FAILED
    if not failed and provision.state is ProvisionState.CLAIMED:
        raise access.superseded(provision.id, "its environment was not handed out yet")
    error = (command.error or _UNEXPLAINED) if failed else None
    provisions.complete(
        tx,
        provision.id,
        state=_state_after(provision, failed=failed),
        outcome=command.outcome,
        error=error,
        rerun_required=provision.rerun_required,
    )
    if error is not None:
        _tell_workspace(tx, provision, error)
    record(
        tx,
        command.call,
        "workspace.launch_complete",
        tenant_id=provision.tenant_id,
        workspace_id=provision.workspace_id,
        subject=provision.id,
        details={"outcome": command.outcome.value},
    )


def _state_after(provision: Provision, *, failed: bool) -> ProvisionState:
    if failed and provision.state is not ProvisionState.PROVEN:
        return ProvisionState.FAILED
    if provision.state is ProvisionState.ENV_DELIVERED or provision.state is None:
        return ProvisionState.LAUNCHED
    # Its box registered before the launcher had time to say so; one that is proven to work is
    # no failure, whatever the launcher met.
    return provision.state


def _tell_workspace(tx: Connection, provision: Provision, error: ProvisionError) -> None:
    held = workspaces.lock(tx, provision.workspace_id)
    if held is None:
        return
    status = status_after(held.workspace.status, WorkspaceEvent.PROVISION_FAILED)
    workspaces.change(tx, provision.workspace_id, status=status.value)
    workspaces.record_error(tx, held.workspace, code=error.code, message=error.message)
