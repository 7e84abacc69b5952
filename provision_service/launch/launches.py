"""Makes many launches at once: four statements for the claims, two for the deliveries, one commit
each, and one call to the registry in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from agentworkspace.core.refusal import Refusal
from provision_service.commands import access
from provision_service.commands.call import Call
from provision_service.commands.deployment import Deployment
from provision_service.domain.decision import Decision, Inputs
from provision_service.domain.lifecycle import ProvisionReason
from provision_service.domain.plan import EnvironmentPlan
from provision_service.domain.probing import ProbesPolicy
from provision_service.domain.records import Provision
from provision_service.domain.registry_port import Registry, RegistryUnavailable
from provision_service.launch import begin, decide, deliver
from provision_service.launch.claim import Claimed
from provision_service.launch.decide import Files
from provision_service.launch.deliver import Ready
from provision_service.launch.provision_workspace import (
    ProvisionWorkspace,
    ProvisionWorkspaceResult,
    delivered,
)
from provision_service.storage import claims, secrets, workspaces
from provision_service.storage.claims import NewClaim
from provision_service.storage.store import Store, Transaction
from provision_service.storage.workspace_records import Held

# What became of one of many: the answer, how far it came, None where nothing has begun, or why the
# registry ended it.
Launched: TypeAlias = ProvisionWorkspaceResult | Ready | Claimed | Refusal | None


def claim(
    store: Store, commands: Sequence[ProvisionWorkspace], deployment: Deployment
) -> list[Claimed | None]:
    """The claim of each command, in their order.

    None for a command that `provision_workspace` would refuse, join, skip, repeat, wait for or
    probe a vendor for, and for a call with less time than the registry may take: nothing was
    claimed, and it has to be run alone.
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


def go_on(
    store: Store,
    commands: Sequence[ProvisionWorkspace],
    taken: Sequence[Claimed | None],
    deployment: Deployment,
    registry: Registry,
) -> list[Launched]:
    """Begin and hand out what was claimed, as far as that goes for all at once.

    A command without a claim is answered None. A claim that the registry did not begin, and a
    launch that was begun and not handed out, are answered as they are: `provision_workspace.go_on`
    goes on with each of them alone. A registry that does not answer ends all whose claims can be
    released at once.
    """
    found: list[Launched] = list(taken)
    claimed = {place: each for place, each in enumerate(taken) if each is not None}
    if not claimed:
        return found
    calls = [commands[place].call for place in claimed]
    try:
        begun = begin.begin_many(deployment, registry, calls, list(claimed.values()))
    except RegistryUnavailable:
        released = _given_up(store, list(claimed.values()))
        return [
            begin.unavailable("did not answer") if each and each.provision_id in released else each
            for each in taken
        ]
    ready = {
        place: Ready(call=call, taken=each, incarnation=one.number, ticket=one.ticket)
        for (place, each), call, one in zip(claimed.items(), calls, begun, strict=True)
        if one is not None and one.ticket is not None
    }
    found = [ready.get(place, each) for place, each in enumerate(found)]
    if ready:
        for place, (one, handed) in zip(
            ready, _handed_out(store, list(ready.values()), deployment), strict=True
        ):
            found[place] = delivered(one, handed) if handed else one
    return found


def let_go(store: Store, left: Sequence[tuple[ProvisionWorkspace, Launched]]) -> None:
    """Release the claims of those whose callers left before they were told of them: nobody goes
    on with these, and others would join a launch that nobody makes.
    """
    for command, found in left:
        if isinstance(found, Claimed):
            begin.let_go(store, command.call, found)


def _given_up(store: Store, claimed: Sequence[Claimed]) -> frozenset[str]:
    """The ids of the launches whose claims were released; the others have to be ended alone."""
    try:
        return begin.give_up(store, claimed)
    except Exception:  # noqa: BLE001 - whose fault it is will be seen when each is run alone
        return frozenset()


def _handed_out(
    store: Store, ready: Sequence[Ready], deployment: Deployment
) -> Iterator[tuple[Ready, tuple[Provision, EnvironmentPlan] | None]]:
    """Each with what was handed out; with None where that has to be done alone."""
    try:
        handed = hand_out(store, ready, deployment)
    except Exception:  # noqa: BLE001 - whose fault it is will be seen when each is run alone
        handed = [None] * len(ready)
    return zip(ready, handed, strict=True)


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
        stored = claims.deliver_all(tx, deliveries) if deliveries else {}
    found = [stored.get(each.taken.provision_id) for each in ready]
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
        if (
            not command.validate_only
            and command.reason is not ProvisionReason.RESUME
            and command.call.can_wait(deployment.launch_budget)
        ):
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
