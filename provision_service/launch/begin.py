"""Step 2 of a launch: the registry begins the incarnation, outside of every transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.service.store_faults import COME_BACK_AFTER
from provision_service.commands import access, first_token
from provision_service.commands.call import Call
from provision_service.commands.deployment import Deployment
from provision_service.domain.lifecycle import ProvisionReason
from provision_service.domain.refusals import Reason
from provision_service.domain.registry_port import (
    Incarnation,
    Launch,
    Registry,
    RegistryOlder,
    RegistryRefused,
    RegistryUnavailable,
)
from provision_service.launch.claim import Claimed
from provision_service.storage import claims, outbox, workspaces
from provision_service.storage.store import Store

_UNKNOWN: Final = SharedReason.WORKSPACE_UNKNOWN.value
_REMOVED: Final = SharedReason.WORKSPACE_REMOVED.value
_SUPERSEDED: Final = "INCARNATION_SUPERSEDED"
# Refusals that last until somebody acts: the same request would only meet them again.
_FENCED: Final = frozenset({SharedReason.WORKSPACE_SUSPENDED, SharedReason.INCARNATION_FENCED})


def begin(
    store: Store, deployment: Deployment, registry: Registry, call: Call, taken: Claimed
) -> Incarnation:
    """Admit the workspace if that is still due, then BeginIncarnation under the launch's own id.

    When the registry does not answer, the claim is released, even if the call's own time is over:
    the same request takes the same launch up again, so that the registry never counts it twice. A
    fence at the registry ends the claim, and so does its answer that no launch is needed.

    Raises REGISTRY_UNAVAILABLE, WORKSPACE_SUSPENDED, INCARNATION_FENCED, WORKSPACE_REMOVED,
    PROVISION_SUPERSEDED.
    """
    try:
        if taken.pending is not None:
            _admit(deployment, registry, taken.pending)
        begun = _begin(deployment, registry, taken)
        if begun.skipped and not _withdrawn(store, call, taken):
            # Somebody joined the launch who wants it whether it is needed or not.
            wanted = replace(_launch(deployment, taken), only_if_needed=False)
            begun = registry.begin_incarnation(wanted, timeout=deployment.launch_budget)
    except RegistryUnavailable:
        refusal = unavailable("did not answer")
    except RegistryRefused as refused:
        refusal = _refusal(taken, refused)
    else:
        return begun
    _close(store, call, taken, refusal)
    raise refusal


def begin_many(
    deployment: Deployment, registry: Registry, calls: Sequence[Call], taken: Sequence[Claimed]
) -> list[Incarnation | None]:
    """BeginIncarnation for many launches, in order. None for each that `begin` has to begin, or to
    end, alone. Raises RegistryUnavailable.
    """
    try:
        return registry.begin_many(
            [_launch(deployment, each) for each in taken],
            correlation_ids=[call.correlation_id for call in calls],
            timeout=deployment.launch_budget,
        )
    except (RegistryOlder, RegistryRefused):
        return [None] * len(taken)


def give_up(store: Store, taken: Sequence[Claimed]) -> frozenset[str]:
    """Release the claims of launches for which the registry did not answer. Returns the ids of
    those that were released; one whose workspace somebody holds is left as it is.
    """
    refusal = unavailable("did not answer")
    with store.after_the_call().transaction() as tx:
        free = workspaces.lock_free(tx, [each.workspace.id for each in taken])
        released = [each.provision_id for each in taken if each.workspace.id in free]
        for provision_id in released:
            claims.release(tx, provision_id, code=_code(refusal), message=refusal.message)
    return frozenset(released)


def let_go(store: Store, call: Call, taken: Claimed) -> None:
    """Release the claim of a launch whose caller left before the registry was asked."""
    _close(store, call, taken, unavailable("was not asked, since the caller had left"))


def _close(store: Store, call: Call, taken: Claimed, refusal: Refusal) -> None:
    close = claims.refuse if refusal.reason in _FENCED else claims.release
    with store.after_the_call().transaction() as tx:
        access.lock_workspace(tx, call, taken.workspace.id)
        close(tx, taken.provision_id, code=_code(refusal), message=refusal.message)


def _code(refusal: Refusal) -> str:
    return f"ERROR_REASON_{refusal.reason}"


def _withdrawn(store: Store, call: Call, taken: Claimed) -> bool:
    with store.after_the_call().transaction() as tx:
        access.lock_workspace(tx, call, taken.workspace.id)
        return claims.withdraw(tx, taken.provision_id)


def _launch(deployment: Deployment, taken: Claimed) -> Launch:
    workspace = taken.workspace
    return Launch(
        workspace_id=workspace.id,
        request_id=taken.provision_id,
        ticket_ttl=max(deployment.ticket_ttl, deployment.provision_lease),
        # A registry that was restored from a backup must not count a launch again.
        minimum_incarnation=workspace.incarnation,
        lift_suspension=taken.reason is ProvisionReason.RESUME,
        only_if_needed=taken.reason is ProvisionReason.AUTO_RESTART,
    )


def _begin(deployment: Deployment, registry: Registry, taken: Claimed) -> Incarnation:
    launch, workspace = _launch(deployment, taken), taken.workspace
    try:
        return registry.begin_incarnation(launch, timeout=deployment.launch_budget)
    except RegistryRefused as refused:
        if refused.reason != _UNKNOWN:
            raise
    # The registry lost what it was told, say to a restored backup: tell it again.
    admission = first_token.admission_of(
        deployment,
        workspace_id=workspace.id,
        tenant_id=workspace.tenant_id,
        external_like=taken.decision.skipped,
    )
    registry.admit(
        replace(admission, remembered_incarnation=workspace.incarnation),
        request_id=first_token.request_id_without_token(workspace.id),
        first_token=None,
        timeout=deployment.admit_budget,
    )
    # The registry knows of no box by now, so it cannot say that no launch is needed.
    again = replace(launch, only_if_needed=False)
    return registry.begin_incarnation(again, timeout=deployment.launch_budget)


def _admit(deployment: Deployment, registry: Registry, pending: outbox.Message) -> None:
    try:
        first_token.admit_pending(registry, pending, timeout=deployment.admit_budget)
    except RegistryRefused as refused:
        if refused.reason != first_token.TOKEN_HASH_IN_USE:
            raise
        first_token.admit_pending(
            registry,
            outbox.without_first_token(pending),
            timeout=deployment.admit_budget,
        )


def _refusal(taken: Claimed, refused: RegistryRefused) -> Refusal:
    workspace_id = taken.workspace.id
    if refused.reason == _REMOVED:
        return access.removed(workspace_id)
    if refused.reason == _SUPERSEDED:
        return access.superseded(taken.provision_id, "a newer launch has begun")
    if refused.reason == SharedReason.WORKSPACE_SUSPENDED:
        return Refusal(
            SharedReason.WORKSPACE_SUSPENDED,
            "the workspace is suspended; only an admin launches it, with reason RESUME",
            metadata={"workspace_id": workspace_id},
        )
    if refused.reason == SharedReason.INCARNATION_FENCED:
        return Refusal(
            SharedReason.INCARNATION_FENCED,
            "after this launch had begun, its workspace was suspended or reported as"
            " compromised, so its ticket opens nothing; ask for a launch with a new request_id"
            " (a suspended workspace wants reason RESUME)",
            metadata={"workspace_id": workspace_id},
        )
    return unavailable(f"refused to begin the launch ({refused.reason})")


def unavailable(what: str) -> Refusal:
    """The refusal while the registry gives no useful answer; the same request may try again."""
    return Refusal(
        Reason.REGISTRY_UNAVAILABLE,
        f"the registry {what}; nothing was handed out, call again with the same request_id",
        retry_after=COME_BACK_AFTER,
    )
