"""What a workspace would be if it were created now, and whether it may be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from agentworkspace.core.refusal import Refusal, refuse_shape
from agentworkspace.core.secret import Secret
from provision_service.commands import access, probing
from provision_service.commands.deployment import Deployment
from provision_service.domain import guards
from provision_service.domain.billing import BillingMode
from provision_service.domain.decision import Decision, Inputs
from provision_service.domain.probing import Prober, ProbesPolicy
from provision_service.domain.refusals import Reason
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import MergedSecrets, StoredSecret, merge
from provision_service.domain.spec import WorkspaceSpec, complete, spec_violations
from provision_service.domain.step import Notice
from provision_service.launch import decide
from provision_service.launch.decide import Files
from provision_service.storage import secret_sizes, secrets, tenants
from provision_service.storage.store import Store, Transaction
from provision_service.storage.tenants import TenantFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The workspace as it would be stored, before anything is read."""

    workspace_id: str
    tenant_id: str
    spec: WorkspaceSpec
    secrets: Mapping[str, Secret]
    providers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A decision on a draft that is no refusal."""

    inputs: Inputs
    decision: Decision
    tenant: TenantFacts


def draft(
    workspace_id: str,
    tenant_id: str,
    given: WorkspaceSpec,
    secrets: Mapping[str, Secret],
    providers: Mapping[str, str],
    *,
    deployment: Deployment,
    files: Files,
) -> Draft:
    """Template and defaults filled in; a model among the secrets moved into the spec.

    The spec's own model comes first, then the one among the secrets, then the template's.
    Raises TEMPLATE_UNKNOWN, INVALID_REQUEST.
    """
    for key, said in providers.items():
        guards.refuse_unknown_provider(files.catalogue, said, field=f"secret_providers[{key}]")
    kept, model = guards.take_model({key: value.reveal() for key, value in secrets.items()})
    spec = given
    if given.template:
        template = files.templates.get(given.template)
        if template is None:
            raise template_unknown(given.template)
        spec = replace(spec, runtime=spec.runtime.strip() or template.runtime)
        model = model or template.model
    spec = replace(spec, model=spec.model.strip() or model)
    refuse_shape(spec_violations(spec))
    return Draft(
        workspace_id=workspace_id,
        tenant_id=tenant_id,
        spec=completed(spec, deployment, files),
        secrets={key: secrets[key] for key in kept},
        providers={key: said for key, said in providers.items() if key in kept},
    )


def completed(spec: WorkspaceSpec, deployment: Deployment, files: Files) -> WorkspaceSpec:
    """Defaults for what was not given, and the tier that the deployment forces."""
    return complete(spec, files.catalogue, forced_tier=deployment.forced_tier)


def template_unknown(name: str) -> Refusal:
    """The refusal of a template that is not configured."""
    return Refusal(
        Reason.TEMPLATE_UNKNOWN,
        f"no template `{name}` is configured",
        metadata={"template": name},
    )


def decide_new(tx: Transaction, deployment: Deployment, files: Files, wanted: Draft) -> Decided:
    """Decide a draft as a launch would, with its secrets merged over the tenant's own. Raises the
    gates' refusals, PARENT_INVALID and SECRET_LIMIT_EXCEEDED.
    """
    tenant = tenants.find(tx, wanted.tenant_id) or new_tenant(wanted.tenant_id)
    access.check_parent(
        tx,
        workspace_id=wanted.workspace_id,
        tenant_id=wanted.tenant_id,
        parent_id=wanted.spec.parent_id,
    )
    shared = secrets.read_merged(tx, tenant_id=wanted.tenant_id, workspace_id=None)
    comingled = secrets.comingled_keys(tx, wanted.secrets)
    return judge(tx, deployment, files, wanted, tenant=tenant, shared=shared, comingled=comingled)


def judge(
    tx: Transaction,
    deployment: Deployment,
    files: Files,
    wanted: Draft,
    *,
    tenant: TenantFacts,
    shared: MergedSecrets,
    comingled: Collection[str],
) -> Decided:
    """As `decide_new`, on what was read before: `shared` are the tenant's own secrets, `comingled`
    the draft's keys that hold a platform credential. The parent is not checked.
    """
    own = [
        StoredSecret(key, Scope.WORKSPACE, value, key in comingled, wanted.providers.get(key, ""))
        for key, value in wanted.secrets.items()
    ]
    inputs, decision = decide.decide_on(
        tx,
        deployment,
        files,
        tenant=tenant,
        workspace_id=wanted.workspace_id,
        spec=wanted.spec,
        secrets=merge(shared.by_key.values(), own),
        at_create=True,
    )
    if decision.refusal is not None:
        raise decision.refusal
    if wanted.secrets:
        guards.refuse_too_much(secret_sizes.size_of_all(inputs.secrets))
    return Decided(inputs=inputs, decision=decision, tenant=tenant)


def warnings_of(decided: Decided, wanted: Draft) -> tuple[Notice, ...]:
    """The decision's own, and one for each given secret that the box does not get."""
    found = list(decided.decision.warnings)
    if decided.decision.resolution.resolved_mode is BillingMode.PLATFORM_MANAGED:
        bypass = decided.inputs.catalogue.bypass_names(wanted.spec.runtime)
        found += [
            Notice(
                "BYPASS_KEY_NOT_USED",
                f"{key} is stored, but does not reach the box while the platform pays",
                {"key": key},
            )
            for key in sorted(bypass & set(wanted.secrets))
        ]
    return tuple(found)


def probe(
    deployment: Deployment,
    files: Files,
    inputs: Inputs,
    decision: Decision,
    prober: Prober,
) -> tuple[Notice, ...]:
    """Run the template's probes, outside of every transaction.

    Raises INVALID_BYOK_CREDENTIAL under `enforce`.
    """
    asked = probing.template_probes(files.templates, inputs)
    if deployment.probes is ProbesPolicy.OFF or not asked:
        return ()
    results = prober.probe(asked)
    refusal = probing.refusal_of(results, inputs, decision, deployment.probes)
    if refusal is not None:
        raise refusal
    return probing.warnings_of(results, inputs, decision)


def has_probes(deployment: Deployment, files: Files, template: str) -> bool:
    """Whether vendors are asked before a workspace of this template is created."""
    found = files.templates.get(template)
    return deployment.probes is not ProbesPolicy.OFF and found is not None and bool(found.probes)


def probe_before(
    store: Store, deployment: Deployment, files: Files, wanted: Draft, prober: Prober
) -> tuple[Notice, ...]:
    """Run the template's probes, before the transaction that writes."""
    with store.reading() as tx:
        decided = decide_new(tx, deployment, files, wanted)
    return probe(deployment, files, decided.inputs, decided.decision, prober)


def new_tenant(tenant_id: str) -> TenantFacts:
    """The facts of a tenant that has no row here yet."""
    return TenantFacts(
        tenant_id=tenant_id, default_billing=None, usage_token=None, input_revision=0
    )
