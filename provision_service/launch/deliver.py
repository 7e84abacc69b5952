"""Step 3 of a launch: what is handed out is stored, if the claim is still held."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from provision_service.commands import access
from provision_service.commands.call import Call
from provision_service.commands.deployment import Deployment
from provision_service.domain.launch import WorkspaceEvent, status_after
from provision_service.domain.plan import OF_SECRETS, EnvironmentPlan, LaunchFacts, materialize
from provision_service.domain.records import ManifestEntry, Provision
from provision_service.domain.step import Notice
from provision_service.launch import decide
from provision_service.launch.claim import Claimed
from provision_service.storage import claims, outbox
from provision_service.storage.claims import Delivery
from provision_service.storage.encryption import shown
from provision_service.storage.store import Store
from provision_service.storage.workspace_records import Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A launch that the registry has begun, and its ticket; `probed` are warnings of the probes."""

    call: Call
    taken: Claimed
    incarnation: int
    ticket: Secret
    probed: tuple[Notice, ...] = ()


def deliver(
    store: Store, deployment: Deployment, ready: Ready
) -> tuple[Provision, EnvironmentPlan]:
    """The launch as it stands and the whole environment of its box.

    Raises PROVISION_SUPERSEDED when the claim was lost meanwhile, WORKSPACE_REMOVED.
    """
    env, workspace = environment(deployment, ready), ready.taken.workspace
    with store.transaction() as tx:
        held = access.lock_living_workspace(tx, ready.call, workspace.id)
        if held.workspace.incarnation > ready.incarnation:
            raise _lost(ready.taken)
        one = delivery_of(store, ready, env, held)
        provision = claims.deliver_all(tx, [one]).get(one.provision_id)
        if provision is None:
            raise _lost(ready.taken)
        if not held.workspace.admitted:
            outbox.confirm_admissions(tx, [workspace.id])
    return provision, env


def delivery_of(store: Store, ready: Ready, env: EnvironmentPlan, held: Held) -> Delivery:
    """What is stored of the launch. `held` is its workspace, whose row is locked."""
    taken, manifest = ready.taken, _manifest(store, env)
    return Delivery(
        provision_id=taken.provision_id,
        workspace_id=taken.workspace.id,
        tenant_id=taken.workspace.tenant_id,
        incarnation=ready.incarnation,
        input_revision=taken.workspace.input_revision,
        current_input_revision=held.workspace.input_revision,
        billing=decide.billing_of(taken.decision, taken.workspace.spec),
        manifest=manifest,
        status=status_after(held.workspace.status, WorkspaceEvent.PROVISION_CLAIMED),
        caller=ready.call.caller.name,
        method=ready.call.method,
        correlation_id=ready.call.correlation_id,
        facts={
            "incarnation": str(ready.incarnation),
            "names": " ".join(sorted(each.name for each in manifest if each.origin in OF_SECRETS)),
        },
    )


def _lost(taken: Claimed) -> Refusal:
    return access.superseded(taken.provision_id, "its claim ended before it was ready")


def environment(deployment: Deployment, ready: Ready) -> EnvironmentPlan:
    """The whole environment of the launch's box."""
    taken = ready.taken
    plan = taken.decision.plan
    if plan is None:
        raise AssertionError("a decision without a refusal has a plan")
    if taken.decision.skipped:
        # Its program is not started from here: it gets what lets it in again, and nothing else.
        plan = EnvironmentPlan({})
    facts = LaunchFacts(
        workspace_id=taken.workspace.id,
        incarnation=ready.incarnation,
        bootstrap_ticket=ready.ticket,
        registry_address=deployment.registry_address,
        registry_ca=deployment.registry_ca(),
    )
    return materialize(plan, facts)


def _manifest(store: Store, env: EnvironmentPlan) -> tuple[ManifestEntry, ...]:
    return tuple(
        ManifestEntry(
            name=name, origin=origin.value, fingerprint=shown(store.fingerprints.of(value))
        )
        for name, origin, value in env.manifest()
    )
