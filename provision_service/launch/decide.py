"""The one decision, on inputs read in one transaction: the same for every use case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agentworkspace.core.refusal import Refusal
from agentworkspace.service.secret_file import as_it_is
from provision_service.catalogue.catalogue import Catalogue
from provision_service.commands.deployment import Deployment
from provision_service.domain.billing import BillingMode
from provision_service.domain.decision import Decision, Inputs, decide
from provision_service.domain.ownership import unsaid_as_anyones
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.probing import Template
from provision_service.domain.records import Billing
from provision_service.domain.secrets import MergedSecrets
from provision_service.domain.spec import WorkspaceSpec
from provision_service.domain.step import Notice
from provision_service.storage import platform_credentials, secrets
from provision_service.storage.store import Transaction
from provision_service.storage.tenants import TenantFacts
from provision_service.storage.workspace_records import Held


class Files:
    """What the files say at the start of one use case: catalogue, templates, and the proxy with the
    deployment's usage token.
    """

    __slots__ = ("catalogue", "platform", "templates")

    def __init__(self, deployment: Deployment) -> None:
        self.catalogue: Catalogue = deployment.catalogue()
        self.templates: Mapping[str, Template] = deployment.templates()
        token = as_it_is(deployment.platform.usage_token)
        self.platform: PlatformProxy = replace(deployment.platform, usage_token=token)


def decide_stored(
    tx: Transaction, deployment: Deployment, files: Files, held: Held
) -> tuple[Inputs, Decision]:
    """Decide a workspace as it is stored."""
    workspace = held.workspace
    merged = secrets.read_merged(tx, tenant_id=workspace.tenant_id, workspace_id=workspace.id)
    return decide_on(
        tx,
        deployment,
        files,
        tenant=held.tenant,
        workspace_id=workspace.id,
        spec=workspace.spec,
        secrets=merged,
    )


def decide_on(
    tx: Transaction,
    deployment: Deployment,
    files: Files,
    *,
    tenant: TenantFacts,
    workspace_id: str,
    spec: WorkspaceSpec,
    secrets: MergedSecrets,
    at_create: bool = False,
) -> tuple[Inputs, Decision]:
    """Decide a spec and secrets, with the proxy as this tenant gets it."""
    if deployment.unsaid_secrets_count:
        secrets = unsaid_as_anyones(files.catalogue, secrets)
    inputs = Inputs(
        workspace_id=workspace_id,
        spec=with_template(spec, files),
        secrets=secrets,
        catalogue=files.catalogue,
        platform=platform_of(tx, deployment, files, tenant),
        at_create=at_create,
    )
    return inputs, decide(inputs)


def with_template(spec: WorkspaceSpec, files: Files) -> WorkspaceSpec:
    """The spec as it is decided on: what its template requires is required too."""
    template = files.templates.get(spec.template)
    if template is None or not template.required_env:
        return spec
    names = dict.fromkeys((*spec.required_env, *template.required_env))
    return replace(spec, required_env=tuple(names))


def billing_of(decision: Decision, spec: WorkspaceSpec) -> Billing:
    """The decision as answers show it and the database keeps it."""
    return Billing(
        resolution=decision.resolution,
        refusal_message=decision.refusal.message if decision.refusal is not None else "",
        warnings=decision.warnings,
        stored_override=spec.billing_mode_override or None,
    )


def warnings_of(decision: Decision) -> tuple[Notice, ...]:
    """What to warn of where a refusal does not stop the call."""
    if decision.refusal is None:
        return decision.warnings
    refusal = decision.refusal
    refused = Notice(refusal.reason.value, refusal.message, refusal.metadata)
    return (refused, *decision.warnings)


def has_single_token(deployment: Deployment, files: Files) -> bool:
    """Whether the deployment has a usage token for one tenant only: the first that needs it."""
    platform = files.platform
    shared = platform.per_box or deployment.usage_token_shared
    return not shared and platform.usage_token is not None and not platform.usage_token.is_blank()


def take_usage_token(
    tx: Transaction,
    deployment: Deployment,
    files: Files,
    *,
    tenant: TenantFacts,
    inputs: Inputs,
    decision: Decision,
) -> Refusal | None:
    """Bind the deployment's usage token to the tenant that is about to use it.

    It serves a single tenant: whoever comes second gets the refusal that is returned, also in a
    race. None where the token is bound, or not needed.
    """
    mode = decision.resolution.resolved_mode
    token = files.platform.usage_token
    if (
        files.platform.per_box
        or decision.skipped
        or mode is not BillingMode.PLATFORM_MANAGED
        or tenant.usage_token
    ):
        return None
    if token is None or not has_single_token(deployment, files):
        return None
    fingerprint = tx.fingerprints.of(token)
    platform_credentials.lock_usage_token(tx, fingerprint=fingerprint)
    served = platform_credentials.tenants_served_by(tx, fingerprint=fingerprint)
    if served <= {tenant.tenant_id} and platform_credentials.bind_deployment_token(
        tx, fingerprint=fingerprint, tenant_id=tenant.tenant_id
    ):
        return None
    without = replace(inputs, platform=replace(inputs.platform, usage_token=None))
    return decide(without).refusal


def platform_of(
    tx: Transaction, deployment: Deployment, files: Files, tenant: TenantFacts
) -> PlatformProxy:
    """The proxy as this tenant gets it: with its own usage token, or the deployment's."""
    platform = files.platform
    if platform.per_box:
        return platform
    if tenant.usage_token is not None:
        token = platform_credentials.opened_usage_token(tx, tenant.tenant_id, tenant.usage_token)
        return replace(platform, usage_token=token, usage_token_unreadable=token is None)
    token = platform.usage_token
    if token is None or not has_single_token(deployment, files):
        return platform
    served = platform_credentials.tenants_served_by(tx, fingerprint=tx.fingerprints.of(token))
    return platform if served <= {tenant.tenant_id} else replace(platform, usage_token=None)
