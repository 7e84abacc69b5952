"""Step 3 of a launch: what is handed out is stored, if the claim is still held."""

from __future__ import annotations

from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from provision_service.commands import access
from provision_service.commands.call import Call, record
from provision_service.commands.deployment import Deployment
from provision_service.domain.launch import WorkspaceEvent, status_after
from provision_service.domain.plan import OF_SECRETS, EnvironmentPlan, LaunchFacts, materialize
from provision_service.domain.records import ManifestEntry, Provision
from provision_service.launch import decide
from provision_service.launch.claim import Claimed
from provision_service.storage import claims, outbox
from provision_service.storage.encryption import shown
from provision_service.storage.store import Store


def deliver(
    store: Store,
    deployment: Deployment,
    call: Call,
    taken: Claimed,
    *,
    incarnation: int,
    ticket: Secret,
) -> tuple[Provision, EnvironmentPlan]:
    """The launch as it stands and the whole environment of its box.

    Raises PROVISION_SUPERSEDED when the claim was lost meanwhile, WORKSPACE_REMOVED.
    """
    env = _environment(deployment, taken, incarnation, ticket)
    manifest = _manifest(store, env)
    workspace = taken.workspace
    with store.transaction() as tx:
        held = access.lock_living_workspace(tx, call, workspace.id)
        if held.workspace.incarnation > incarnation:
            raise _lost(taken)
        provision = claims.deliver(
            tx,
            taken.provision_id,
            incarnation=incarnation,
            input_revision=workspace.input_revision,
            billing=decide.billing_of(taken.decision, workspace.spec),
            manifest=manifest,
            current_input_revision=held.workspace.input_revision,
        )
        if provision is None:
            raise _lost(taken)
        claims.launch(
            tx,
            workspace.id,
            provision_id=taken.provision_id,
            incarnation=incarnation,
            status=status_after(held.workspace.status, WorkspaceEvent.PROVISION_CLAIMED),
        )
        if not held.workspace.admitted:
            outbox.confirm_admission(tx, workspace.id)
        record(
            tx,
            call,
            "workspace.launch",
            tenant_id=workspace.tenant_id,
            workspace_id=workspace.id,
            subject=taken.provision_id,
            details={
                "incarnation": str(incarnation),
                "reason": provision.reason.value,
                "names": " ".join(
                    sorted(each.name for each in manifest if each.origin in OF_SECRETS)
                ),
            },
        )
    return provision, env


def _lost(taken: Claimed) -> Refusal:
    return access.superseded(taken.provision_id, "its claim ended before it was ready")


def _environment(
    deployment: Deployment, taken: Claimed, incarnation: int, ticket: Secret
) -> EnvironmentPlan:
    plan = taken.decision.plan
    if plan is None:
        raise AssertionError("a decision without a refusal has a plan")
    if taken.decision.skipped:
        # Its program is not started from here: it gets what lets it in again, and nothing else.
        plan = EnvironmentPlan({})
    facts = LaunchFacts(
        workspace_id=taken.workspace.id,
        incarnation=incarnation,
        bootstrap_ticket=ticket,
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
