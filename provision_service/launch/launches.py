"""Claims and delivers many launches at once: four statements for the claims, two for the
deliveries, and one commit each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentworkspace.core.refusal import Refusal
from provision_service.commands import access
from provision_service.commands.call import Call
from provision_service.commands.deployment import Deployment
from provision_service.domain.decision import Decision, Inputs
from provision_service.domain.lifecycle import ProvisionReason
from provision_service.domain.plan import EnvironmentPlan
from provision_service.domain.probing import ProbesPolicy
from provision_service.domain.records import Provision
from provision_service.launch import begin, decide, deliver
from provision_service.launch.claim import Claimed
from provision_service.launch.decide import Files
from provision_service.launch.deliver import Ready
from provision_service.launch.provision_workspace import ProvisionWorkspace
from provision_service.storage import claims, secrets, workspaces
from provision_service.storage.claims import NewClaim
from provision_service.storage.store import Store, Transaction
from provision_service.storage.workspace_records import Held


def claim(
    store: Store, commands: Sequence[ProvisionWorkspace], deployment: Deployment
) -> list[Claimed | None]:
    """The claim of each command, in their order.

    None for a command that `provision_workspace` would refuse, join, skip, repeat, wait for or
    probe a vendor for: nothing was claimed, and it has to be run alone.
    """
    files = Files(deployment)
    asked = _asked(commands, deployment, files)
    taken: dict[int, Claimed] = {}
    if asked:
        with store.transaction() as tx:
            held = _held(tx, {at: (each.call, each.workspace_id) for at, each in asked.items()})
            decided = _decided(tx, deployment, files, held)
            new = [_claim_of(commands[place], held[place]) for place in decided]
            added = claims.add_free(tx, new, lease=deployment.provision_lease) if new else ()
        for place, (inputs, decision) in decided.items():
            command = commands[place]
            if command.provision_id in added:
                taken[place] = Claimed(
                    provision_id=command.provision_id,
                    reason=command.reason,
                    workspace=held[place].workspace,
                    inputs=inputs,
                    decision=decision,
                    pending=None,
                )
    return [taken.get(place) for place in range(len(commands))]


def let_go(store: Store, left: Sequence[tuple[ProvisionWorkspace, Claimed | None]]) -> None:
    """Release the claims of those whose callers left before they were told of them: nobody goes
    on with these, and others would join a launch that nobody makes.
    """
    for command, taken in left:
        if taken:
            begin.let_go(store, command.call, taken)


def hand_out(
    store: Store, ready: Sequence[Ready], deployment: Deployment
) -> list[tuple[Provision, EnvironmentPlan] | None]:
    """What `deliver` returns for each launch, in their order; None for one that it has to deliver
    or refuse alone.
    """
    environments = [deliver.environment(deployment, each) for each in ready]
    with store.transaction() as tx:
        held = _held(
            tx, {at: (each.call, each.taken.workspace.id) for at, each in enumerate(ready)}
        )
        deliveries = [
            deliver.delivery_of(store, ready[place], environments[place], one)
            for place, one in held.items()
            if one.workspace.incarnation <= ready[place].incarnation
        ]
        delivered = claims.deliver_all(tx, deliveries) if deliveries else {}
    found = [delivered.get(each.taken.provision_id) for each in ready]
    return [
        (provision, env) if provision else None
        for provision, env in zip(found, environments, strict=True)
    ]


def _asked(
    commands: Sequence[ProvisionWorkspace], deployment: Deployment, files: Files
) -> dict[int, ProvisionWorkspace]:
    """The commands that a batch takes, by position, one for each workspace. None at all where
    vendors may be probed, or a single tenant's usage token bound.
    """
    probes = any(template.probes for template in files.templates.values())
    if decide.has_single_token(deployment, files) or (
        probes and deployment.probes is not ProbesPolicy.OFF
    ):
        return {}
    first: dict[str, int] = {}
    for place, command in enumerate(commands):
        if not command.validate_only and command.reason is not ProvisionReason.RESUME:
            first.setdefault(command.workspace_id, place)
    return {place: commands[place] for place in first.values()}


def _held(tx: Transaction, asked: Mapping[int, tuple[Call, str]]) -> dict[int, Held]:
    """By position, the workspaces that nobody else has locked, that the caller may touch, that were
    not removed, and that the registry has admitted.
    """
    free = workspaces.lock_free(tx, sorted({workspace_id for _, workspace_id in asked.values()}))
    held: dict[int, Held] = {}
    for place, (call, workspace_id) in asked.items():
        one = free.get(workspace_id)
        if one is None or not one.workspace.admitted:
            continue
        try:
            access.require_owned(call, one)
            access.require_living(one)
        except Refusal:
            continue
        held[place] = one
    return held


def _decided(
    tx: Transaction, deployment: Deployment, files: Files, held: Mapping[int, Held]
) -> dict[int, tuple[Inputs, Decision]]:
    """By position, the decisions by which a box would start."""
    merged = secrets.read_merged_of_many(
        tx, {one.workspace.id: one.workspace.tenant_id for one in held.values()}
    )
    decided: dict[int, tuple[Inputs, Decision]] = {}
    for place, one in held.items():
        inputs, decision = decide.decide_on(
            tx,
            deployment,
            files,
            tenant=one.tenant,
            workspace_id=one.workspace.id,
            spec=one.workspace.spec,
            secrets=merged[one.workspace.id],
        )
        if decision.refusal is None and not decision.skipped:
            decided[place] = inputs, decision
    return decided


def _claim_of(command: ProvisionWorkspace, held: Held) -> NewClaim:
    return NewClaim(
        provision_id=command.provision_id,
        workspace_id=held.workspace.id,
        tenant_id=held.workspace.tenant_id,
        request_id=command.request_id,
        caller=command.call.caller.name,
        reason=command.reason,
        input_revision=held.workspace.input_revision,
    )
