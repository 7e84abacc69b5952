"""Step 1 of a launch: whose launch it is, decided under the workspace's row lock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from agentworkspace.core.refusal import Refusal
from provision_service.commands import access, idempotency
from provision_service.commands.call import Call
from provision_service.commands.deployment import Deployment
from provision_service.domain.decision import Decision, Inputs
from provision_service.domain.launch import claim_is_live
from provision_service.domain.lifecycle import ProvisionReason, ProvisionState
from provision_service.domain.records import Provision, Workspace
from provision_service.domain.refusals import Reason
from provision_service.launch import decide
from provision_service.launch.decide import Files
from provision_service.storage import claims, lapsed, outbox
from provision_service.storage.claims import Claims, NewClaim
from provision_service.storage.provisions import OPEN
from provision_service.storage.store import Transaction

_ASK_AGAIN = timedelta(seconds=5)
# With these reasons an incarnation begins even for a runtime that is not launched from here: its
# ticket is the way out of a fence.
_OUT_OF_A_FENCE = frozenset({ProvisionReason.RESUME, ProvisionReason.RECREATE})
_RUNNING = frozenset({ProvisionState.LAUNCHED, ProvisionState.REGISTERED, ProvisionState.PROVEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A launch that is asked for; `provision_id` is used unless the request was seen before.

    `fenced_incarnation`: the launch that a fence at the registry keeps out, 0 for none.
    """

    call: Call
    workspace_id: str
    provision_id: str
    request_id: str
    reason: ProvisionReason
    fenced_incarnation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Somebody holds the claim, or this very request was completed: start nothing."""

    provision: Provision


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """The runtime is not launched from here, or the registry said before that this very request is
    not needed; nothing was claimed.
    """

    workspace: Workspace
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The claim is held. The environment will be made of `decision`; `pending` is the admission
    that the registry has not confirmed yet.
    """

    provision_id: str
    reason: ProvisionReason
    workspace: Workspace
    inputs: Inputs
    decision: Decision
    pending: outbox.Message | None


def claim(
    tx: Transaction, deployment: Deployment, files: Files, request: Request
) -> Joined | Skipped | Claimed:
    """Join somebody's launch, go on with this request's own, or claim a new one. A refusal of the
    gates is raised, so that the transaction rolls back.
    """
    held = access.lock_living_workspace(tx, request.call, request.workspace_id)
    workspace = held.workspace
    met = claims.met(
        tx,
        workspace_id=workspace.id,
        caller=request.call.caller.name,
        request_id=request.request_id,
    )
    joined = _join(met, request)
    if joined is not None:
        if request.reason is not ProvisionReason.AUTO_RESTART and _may_end_for_nothing(joined):
            claims.want(tx, joined.provision.id)
        return joined
    inputs, decision = decide.decide_stored(tx, deployment, files, held)
    if decision.refusal is not None:
        raise decision.refusal
    if met.own is not None and _was_not_needed(met.own):
        return Skipped(workspace=workspace, decision=decision)
    if decision.skipped and request.reason not in _OUT_OF_A_FENCE:
        return Skipped(workspace=workspace, decision=decision)
    refusal = decide.take_usage_token(
        tx, deployment, files, tenant=held.tenant, inputs=inputs, decision=decision
    )
    if refusal is not None:
        raise refusal
    return Claimed(
        provision_id=_hold(tx, deployment, request, met, workspace),
        reason=request.reason,
        workspace=workspace,
        inputs=inputs,
        decision=decision,
        pending=None if workspace.admitted else outbox.pending_admission(tx, workspace.id),
    )


def has_live_claim(tx: Connection, workspace_id: str) -> bool:
    """Whether somebody is launching the workspace right now."""
    return bool(lapsed.with_live_claim(tx, [workspace_id]))


def _join(met: Claims, request: Request) -> Joined | None:
    """The launch to join, or None when this request may hold the claim itself."""
    own, rival = met.own, met.open_claim
    if own is not None and own.reason is not request.reason:
        raise idempotency.reused(request.request_id)
    is_held = rival is not None and (own is None or rival.id != own.id) and _is_live(rival, met)
    if rival is not None and is_held and not _goes_before(request, rival):
        return Joined(provision=rival)
    if own is None or _is_live(own, met) or _was_not_needed(own):
        return None
    if own.state in _RUNNING:
        return Joined(provision=own)
    if _was_released(own) and met.newest_id == own.id:
        return None
    raise access.superseded(own.id, _why_over(own))


def _may_end_for_nothing(joined: Joined) -> bool:
    """Whether the registry may still skip the launch as not needed."""
    launch = joined.provision
    return launch.reason is ProvisionReason.AUTO_RESTART and launch.state is ProvisionState.CLAIMED


def _goes_before(request: Request, rival: Provision) -> bool:
    """Whether this request is a RESUME that ends the rival, whose ticket a fence keeps out.

    A RESUME joins no launch of another reason, which would not lift the suspension. Raises
    PROVISION_IN_PROGRESS while such a launch may still end well.
    """
    if request.reason is not ProvisionReason.RESUME:
        return False
    if rival.incarnation and rival.incarnation == request.fenced_incarnation:
        return True
    if rival.reason is ProvisionReason.RESUME:
        return False
    raise Refusal(
        Reason.PROVISION_IN_PROGRESS,
        f"launch {rival.id} ({rival.reason}) is on its way, and a RESUME does not join it; call"
        " again when it has ended",
        metadata={"provision_id": rival.id},
        retry_after=_ASK_AGAIN,
    )


def _was_not_needed(provision: Provision) -> bool:
    """Whether the registry said of an AUTO_RESTART that nothing needs it any more."""
    return provision.error is not None and provision.error.code == claims.NOT_NEEDED


def _is_live(provision: Provision, met: Claims) -> bool:
    if provision.state is None or provision.lease_expire_time is None or met.now is None:
        return False
    is_open = provision.complete_time is None
    return is_open and claim_is_live(provision.state, provision.lease_expire_time, met.now)


def _was_released(provision: Provision) -> bool:
    """Whether the registry could not begin it: its own request may try again."""
    return provision.state is ProvisionState.FAILED and provision.complete_time is None


def _why_over(provision: Provision) -> str:
    if provision.state is ProvisionState.FAILED:
        return "it failed; ask with a new request_id"
    if provision.state is ProvisionState.SUPERSEDED:
        return "a newer launch replaced it"
    return "its lease ran out; ask with a new request_id"


def _hold(
    tx: Connection,
    deployment: Deployment,
    request: Request,
    met: Claims,
    workspace: Workspace,
) -> str:
    """Claim the workspace, or renew this request's own claim; returns the launch's id. A rival that
    is still open has lost its claim by now, and is ended.
    """
    rival, own = met.open_claim, met.own
    if rival is not None and (own is None or rival.id != own.id) and rival.state in OPEN:
        if _is_live(rival, met):
            claims.supersede(tx, rival.id)
        else:
            claims.end(tx, rival.id)
    if own is not None:
        claims.renew(
            tx,
            own.id,
            input_revision=workspace.input_revision,
            lease=deployment.provision_lease,
        )
        return own.id
    new = NewClaim(
        provision_id=request.provision_id,
        workspace_id=workspace.id,
        tenant_id=workspace.tenant_id,
        request_id=request.request_id,
        caller=request.call.caller.name,
        reason=request.reason,
        input_revision=workspace.input_revision,
    )
    if not claims.add_free(tx, [new], lease=deployment.provision_lease):
        raise AssertionError("whatever held the workspace was ended before")
    return request.provision_id
