"""Step 2 of a launch: the registry begins the incarnation, outside of every transaction."""

from __future__ import annotations

from typing import Final

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.service.store_faults import COME_BACK_AFTER
from provision_service.commands import access, first_token
from provision_service.commands.call import Call
from provision_service.commands.deployment import Deployment
from provision_service.domain.refusals import Reason
from provision_service.domain.registry_port import (
    Incarnation,
    Registry,
    RegistryRefused,
    RegistryUnavailable,
)
from provision_service.launch.claim import Claimed
from provision_service.storage import claim_rows, outbox_rows
from provision_service.storage.store import Store

_UNKNOWN: Final = SharedReason.WORKSPACE_UNKNOWN.value
_REMOVED: Final = SharedReason.WORKSPACE_REMOVED.value
_SUPERSEDED: Final = "INCARNATION_SUPERSEDED"


def begin(
    store: Store, deployment: Deployment, registry: Registry, call: Call, taken: Claimed
) -> Incarnation:
    """Admit if that is still due, then BeginIncarnation under the launch's own id.

    When that fails the claim is released, also when the registry took all the time of the
    call, and the same request takes it up again with the same launch, so that the registry
    never counts it twice. Raises REGISTRY_UNAVAILABLE,
    WORKSPACE_REMOVED, PROVISION_SUPERSEDED.
    """
    try:
        if taken.pending is not None:
            _admit(deployment, registry, taken.pending)
        return _begin(deployment, registry, taken)
    except RegistryUnavailable:
        refusal = _unavailable("did not answer")
    except RegistryRefused as refused:
        refusal = _refusal(taken, refused)
    with store.after_the_call().transaction() as tx:
        access.lock_workspace(tx, call, taken.workspace.id)
        claim_rows.release(
            tx,
            taken.provision_id,
            code=f"ERROR_REASON_{refusal.reason}",
            message=refusal.message,
        )
    raise refusal


def _begin(deployment: Deployment, registry: Registry, taken: Claimed) -> Incarnation:
    def once() -> Incarnation:
        return registry.begin_incarnation(
            workspace_id=taken.workspace.id,
            request_id=taken.provision_id,
            ticket_ttl=max(deployment.ticket_ttl, deployment.provision_lease),
            timeout=deployment.launch_budget,
        )

    try:
        return once()
    except RegistryRefused as refused:
        if refused.reason != _UNKNOWN:
            raise
    # The registry lost what it was told, say to a restored backup: tell it again.
    registry.admit(
        workspace_id=taken.workspace.id,
        tenant_id=taken.workspace.tenant_id,
        request_id=first_token.request_id_without_token(taken.workspace.id),
        first_token=None,
        ticket_required=deployment.tickets_from_birth,
        timeout=deployment.admit_budget,
    )
    return once()


def _admit(deployment: Deployment, registry: Registry, pending: outbox_rows.Message) -> None:
    try:
        first_token.admit_pending(registry, pending, timeout=deployment.admit_budget)
    except RegistryRefused as refused:
        if refused.reason != first_token.TOKEN_HASH_IN_USE:
            raise
        first_token.admit_pending(
            registry,
            outbox_rows.without_first_token(pending),
            timeout=deployment.admit_budget,
        )


def _refusal(taken: Claimed, refused: RegistryRefused) -> Refusal:
    if refused.reason == _REMOVED:
        return access.removed(taken.workspace.id)
    if refused.reason == _SUPERSEDED:
        return access.superseded(taken.provision_id, "a newer launch has begun")
    return _unavailable(f"refused to begin the launch ({refused.reason})")


def _unavailable(what: str) -> Refusal:
    return Refusal(
        Reason.REGISTRY_UNAVAILABLE,
        f"the registry {what}; nothing was handed out, call again with the same request_id",
        retry_after=COME_BACK_AFTER,
    )
