"""Claim the launch of a workspace and hand out the exact environment of its box."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agentworkspace.core.refusal import Refusal, SharedReason
from provision_service.catalogue.catalogue import USAGE_TOKEN_ENV
from provision_service.commands import access, new_workspace
from provision_service.commands.call import Call
from provision_service.commands.deployment import Deployment
from provision_service.domain.decision import Decision
from provision_service.domain.lifecycle import ProvisionReason
from provision_service.domain.plan import EnvironmentPlan
from provision_service.domain.probing import Prober, ProbesPolicy
from provision_service.domain.records import Provision, Workspace
from provision_service.domain.refusals import Reason
from provision_service.domain.registry_port import (
    Registry,
    RegistryRefused,
    RegistryUnavailable,
)
from provision_service.domain.step import Notice
from provision_service.launch import begin, decide, deliver
from provision_service.launch.claim import (
    Claimed,
    Joined,
    Request,
    Skipped,
    claim,
    has_live_claim,
)
from provision_service.launch.decide import Files
from provision_service.launch.deliver import Ready
from provision_service.storage import workspaces
from provision_service.storage.store import Store

# These refusals leave no last_error: they say nothing about the workspace, or will be given again
# to whoever asks.
_PASSING = frozenset(
    {
        SharedReason.WORKSPACE_UNKNOWN,
        SharedReason.WORKSPACE_REMOVED,
        SharedReason.TENANT_FORBIDDEN,
        SharedReason.REQUEST_ID_REUSED,
        SharedReason.ROLE_REQUIRED,
        Reason.PROVISION_SUPERSEDED,
        Reason.PROVISION_IN_PROGRESS,
        SharedReason.DEADLINE,
        SharedReason.STORE_UNAVAILABLE,
        SharedReason.OVERLOADED,
        SharedReason.OUTCOME_UNKNOWN,
        Reason.REGISTRY_UNAVAILABLE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionWorkspace:
    """`provision_id` is fresh, made by the edge; a replay goes on with the first one."""

    call: Call
    workspace_id: str
    provision_id: str
    reason: ProvisionReason
    request_id: str
    validate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionWorkspaceResult:
    """`env` is None when joined, skipped or only validated; else `env.reveal()` is sent."""

    provision: Provision
    env: EnvironmentPlan | None
    joined: bool
    skipped: bool
    warnings: tuple[Notice, ...]


def run(
    store: Store,
    command: ProvisionWorkspace,
    deployment: Deployment,
    registry: Registry,
    prober: Prober,
) -> ProvisionWorkspaceResult:
    """Claim, begin at the registry, store, answer.

    A refusal has touched neither the registry nor a running box, and is remembered as the
    workspace's `last_error`. A crash after any step leaves a claim that its own request
    goes on with, and that others may take once the lease is over.
    """
    files = Files(deployment)
    if command.validate_only:
        return _validate(store, command, deployment, files, prober)
    with _remembered(store, command):
        _require_admin(command)
        probed = _probe(store, command, deployment, files, prober)
        request = _request(command, _fenced_incarnation(command, deployment, registry))
        with store.transaction() as tx:
            taken = claim(tx, deployment, files, request)
        if isinstance(taken, Joined):
            return _joined(taken.provision)
        if isinstance(taken, Skipped):
            return _skipped(command, taken.workspace, taken.decision)
        return _go_on(store, command, deployment, registry, begun=taken, probed=probed)


def go_on(
    store: Store,
    command: ProvisionWorkspace,
    deployment: Deployment,
    registry: Registry,
    *,
    begun: Claimed | Ready,
) -> ProvisionWorkspaceResult:
    """The rest of a launch that was claimed, or begun, together with others."""
    with _remembered(store, command):
        return _go_on(store, command, deployment, registry, begun=begun)


def _go_on(
    store: Store,
    command: ProvisionWorkspace,
    deployment: Deployment,
    registry: Registry,
    *,
    begun: Claimed | Ready,
    probed: tuple[Notice, ...] = (),
) -> ProvisionWorkspaceResult:
    if isinstance(begun, Claimed):
        ready = _begin(store, command, deployment, registry, taken=begun, probed=probed)
        if isinstance(ready, ProvisionWorkspaceResult):
            return ready
        begun = ready
    return delivered(begun, deliver.deliver(store, deployment, begun))


@contextmanager
def _remembered(store: Store, command: ProvisionWorkspace) -> Iterator[None]:
    """A refusal in the block is kept as the workspace's `last_error`."""
    try:
        yield
    except Refusal as refusal:
        if refusal.reason not in _PASSING:
            _remember(store, command, refusal)
        raise


def _require_admin(command: ProvisionWorkspace) -> None:
    """A RESUME lifts a suspension, which an admin set."""
    if command.reason is ProvisionReason.RESUME and "admin" not in command.call.caller.roles:
        raise Refusal(
            SharedReason.ROLE_REQUIRED,
            "reason RESUME lifts a suspension and needs the role admin; for any other launch"
            " say RESTART",
            metadata={"roles": "admin"},
        )


def _fenced_incarnation(
    command: ProvisionWorkspace, deployment: Deployment, registry: Registry
) -> int:
    """The incarnation that a fence at the registry keeps out, 0 for none. The registry is asked for
    a RESUME only, which ends that launch.
    """
    if command.reason is not ProvisionReason.RESUME:
        return 0
    try:
        seen = registry.get_registration(
            workspace_id=command.workspace_id, timeout=deployment.launch_budget
        )
    except RegistryUnavailable:
        raise begin.unavailable("did not answer") from None
    except RegistryRefused:
        # It does not know the workspace yet, so it fences nothing.
        return 0
    return seen.incarnation if seen.fenced else 0


def _begin(
    store: Store,
    command: ProvisionWorkspace,
    deployment: Deployment,
    registry: Registry,
    *,
    taken: Claimed,
    probed: tuple[Notice, ...],
) -> Ready | ProvisionWorkspaceResult:
    """The launch that is ready to be delivered, or the answer where nothing is handed out."""
    begun = begin.begin(store, deployment, registry, command.call, taken)
    if begun.skipped:
        return _skipped(command, taken.workspace, taken.decision)
    if begun.ticket is None:
        # The ticket was redeemed: the box of this very launch is up, so start nothing.
        with store.reading() as tx:
            provision, _ = access.read_provision(tx, command.call, taken.provision_id)
        return _joined(provision)
    return Ready(
        call=command.call,
        taken=taken,
        incarnation=begun.number,
        ticket=begun.ticket,
        probed=probed,
    )


def delivered(ready: Ready, found: tuple[Provision, EnvironmentPlan]) -> ProvisionWorkspaceResult:
    """The answer that carries the environment."""
    provision, env = found
    return ProvisionWorkspaceResult(
        provision=provision,
        env=env,
        joined=False,
        skipped=False,
        warnings=(*ready.taken.decision.warnings, *_without_a_key(env), *ready.probed),
    )


def _without_a_key(env: EnvironmentPlan) -> tuple[Notice, ...]:
    """A box whose ticket is of a foreign format has no token for the platform's proxy."""
    if not env.per_box or USAGE_TOKEN_ENV in env.variables:
        return ()
    return (
        Notice(
            "NO_PROXY_TOKEN",
            "the registry's ticket is of a format from which no token for the platform's proxy can"
            " be derived: the box cannot use the platform's models; give it a registry of this"
            " version, or PLATFORM_LLM_TOKENS=tenant",
        ),
    )


def _probe(
    store: Store,
    command: ProvisionWorkspace,
    deployment: Deployment,
    files: Files,
    prober: Prober,
) -> tuple[Notice, ...]:
    """Step 0: ask the vendors when a template wants it, outside of every transaction."""
    has_probes = any(template.probes for template in files.templates.values())
    if deployment.probes is ProbesPolicy.OFF or not has_probes:
        return ()
    with store.reading() as tx:
        held = access.read_workspace(tx, command.call, command.workspace_id)
        access.require_living(held)
        if has_live_claim(tx, command.workspace_id):
            return ()
        inputs, decision = decide.decide_stored(tx, deployment, files, held)
    if decision.refusal is not None or decision.skipped:
        return ()
    return new_workspace.probe(deployment, files, inputs, decision, prober)


def _remember(store: Store, command: ProvisionWorkspace, refusal: Refusal) -> None:
    """`last_error`, in a transaction of its own: the refused one was rolled back."""
    with store.after_the_call().transaction() as tx:
        held = workspaces.lock(tx, command.workspace_id)
        if held is not None and held.workspace.remove_time is None:
            workspaces.record_error(
                tx,
                held.workspace,
                code=f"ERROR_REASON_{refusal.reason}",
                message=refusal.message,
            )


def _validate(
    store: Store,
    command: ProvisionWorkspace,
    deployment: Deployment,
    files: Files,
    prober: Prober,
) -> ProvisionWorkspaceResult:
    """Decide everything, claim nothing, hand out nothing."""
    with store.reading() as tx:
        held = access.read_workspace(tx, command.call, command.workspace_id)
        access.require_living(held)
        inputs, decision = decide.decide_stored(tx, deployment, files, held)
    if decision.refusal is not None:
        raise decision.refusal
    probed = (
        () if decision.skipped else new_workspace.probe(deployment, files, inputs, decision, prober)
    )
    return ProvisionWorkspaceResult(
        provision=_unclaimed(command, held.workspace, decision),
        env=None,
        joined=False,
        skipped=decision.skipped,
        warnings=(*decision.warnings, *probed),
    )


def _request(command: ProvisionWorkspace, fenced_incarnation: int) -> Request:
    return Request(
        call=command.call,
        workspace_id=command.workspace_id,
        provision_id=command.provision_id,
        request_id=command.request_id,
        reason=command.reason,
        fenced_incarnation=fenced_incarnation,
    )


def _joined(provision: Provision) -> ProvisionWorkspaceResult:
    return ProvisionWorkspaceResult(
        provision=provision, env=None, joined=True, skipped=False, warnings=()
    )


def _skipped(
    command: ProvisionWorkspace, workspace: Workspace, decision: Decision
) -> ProvisionWorkspaceResult:
    return ProvisionWorkspaceResult(
        provision=_unclaimed(command, workspace, decision),
        env=None,
        joined=False,
        skipped=True,
        warnings=decision.warnings,
    )


def _unclaimed(command: ProvisionWorkspace, workspace: Workspace, decision: Decision) -> Provision:
    """A launch that is only spoken of: without an id and without a state."""
    return Provision(
        id="",
        workspace_id=workspace.id,
        tenant_id=workspace.tenant_id,
        request_id=command.request_id,
        caller=command.call.caller.name,
        reason=command.reason,
        state=None,
        incarnation=workspace.incarnation,
        input_revision=workspace.input_revision,
        billing=decide.billing_of(decision, workspace.spec),
    )
