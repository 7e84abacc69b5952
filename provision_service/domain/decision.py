"""The one decision of a launch: who pays, what the box gets, and why it may not start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agentworkspace.core.refusal import Refusal
from provision_service.catalogue.catalogue import Catalogue, Provider
from provision_service.catalogue.derivation import PresentNames, derive
from provision_service.domain.advice import smallest_change
from provision_service.domain.billing import (
    BillingMode,
    Resolution,
    choose_mode,
    mode_without_launch,
)
from provision_service.domain.credentials import credential_of
from provision_service.domain.environment import Launch, plan_environment
from provision_service.domain.gates import Case, first_refusal, missing_required
from provision_service.domain.model_choice import effective_model
from provision_service.domain.plan import EnvironmentPlan
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.projection import rivals_of
from provision_service.domain.secrets import MergedSecrets
from provision_service.domain.spec import WorkspaceSpec
from provision_service.domain.step import Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything the decision looks at, read in one transaction.

    The override is `spec.billing_mode_override`, the stored model `spec.model`.
    """

    workspace_id: str
    spec: WorkspaceSpec
    secrets: MergedSecrets
    catalogue: Catalogue
    platform: PlatformProxy
    request_model: str = ""
    at_create: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`resolution` is always there; `plan` is None exactly when there is a `refusal`.

    `skipped`: the runtime is launched by nobody here (external-like or virtual), so a
    provision is answered `skipped`.
    """

    resolution: Resolution
    plan: EnvironmentPlan | None
    refusal: Refusal | None
    warnings: tuple[Notice, ...]
    skipped: bool


def decide(inputs: Inputs) -> Decision:
    """Decide one launch from everything it depends on; the same inputs, the same answer."""
    case = _case(inputs)
    refusal = first_refusal(case)
    plan = None
    if refusal is None:
        plan = plan_environment(
            inputs.catalogue, _launch(inputs, case), inputs.secrets, inputs.platform
        )
        refusal = missing_required(inputs.spec.required_env, plan)
    return Decision(
        resolution=_resolution(inputs, case, refusal),
        plan=plan if refusal is None else None,
        refusal=refusal,
        warnings=(*_warnings(case), *_rivals(case, plan)),
        skipped=case.derivation is None,
    )


def _case(inputs: Inputs) -> Case:
    catalogue, spec, secrets = inputs.catalogue, inputs.spec, inputs.secrets
    model = effective_model(
        request_model=inputs.request_model, spec_model=spec.model, secrets=secrets
    )
    derivation = None
    if catalogue.has_no_entry_by_design(spec.runtime):
        choice = mode_without_launch(spec.runtime, spec.billing_mode_override)
    else:
        present = PresentNames(workspace=secrets.present_at_workspace, everywhere=secrets.present)
        derivation = derive(catalogue, runtime=spec.runtime, model=model.model, present=present)
        choice = choose_mode(spec.billing_mode_override, derivation)
    return Case(
        catalogue=catalogue,
        runtime_name=spec.runtime,
        model=model,
        secrets=secrets,
        platform=inputs.platform,
        choice=choice,
        derivation=derivation,
        at_create=inputs.at_create,
    )


def _provider(case: Case) -> Provider | None:
    return case.derivation.provider if case.derivation is not None else None


def _launch(inputs: Inputs, case: Case) -> Launch:
    return Launch(
        workspace_id=inputs.workspace_id,
        spec=inputs.spec,
        mode=case.choice.mode,
        provider=_provider(case),
        model=case.model,
    )


def _resolution(inputs: Inputs, case: Case, refusal: Refusal | None) -> Resolution:
    provider = _provider(case)
    derived_steps = case.derivation.steps if case.derivation is not None else ()
    return Resolution(
        workspace_id=inputs.workspace_id,
        resolved_mode=case.choice.mode,
        source=case.choice.source,
        provider_selection=provider.name if provider is not None else None,
        workspace_override=case.choice.override,
        effective_model=case.model.model,
        effective_model_source=case.model.source,
        refusal=refusal.reason if refusal is not None else None,
        steps=(*case.model.steps, *derived_steps, *case.choice.steps),
        catalogue_version=inputs.catalogue.version,
        change=smallest_change(
            inputs.catalogue,
            runtime=case.runtime,
            model=case.model.model,
            choice=case.choice,
            derivation=case.derivation,
            secrets=inputs.secrets,
        ),
    )


def _warnings(case: Case) -> Iterator[Notice]:
    derivation, override, model = case.derivation, case.choice.override, case.model.model
    if derivation is None:
        return
    provider = derivation.provider
    if derivation.withdrawn:
        yield Notice("MODEL_WITHDRAWN", f"`{model}` is withdrawn: choose another for the future")
    if override is BillingMode.PLATFORM_MANAGED and provider and not provider.is_platform:
        yield Notice(
            "OVERRIDE_PLATFORM_OVER_VENDOR_MODEL",
            f"`{model}` is served by {provider.name}, and the override bills it to the platform",
        )
    if override is BillingMode.BYOK and provider and provider.is_platform:
        yield Notice(
            "OVERRIDE_BYOK_OVER_PLATFORM_MODEL",
            f"`{model}` is a model of the platform, and the override bills it to the tenant's key",
        )
    if override is BillingMode.BYOK and provider is None and case.runtime is not None and model:
        yield Notice(
            "OVERRIDE_BYOK_OVER_UNDERIVABLE_MODEL",
            f"no provider derives for `{model}`: every credential of the tenant is left in place",
        )


def _rivals(case: Case, plan: EnvironmentPlan | None) -> Iterator[Notice]:
    """A tenant's own choice is kept; that the runtime would not stop at the payer's is said."""
    native = case.runtime is not None and case.runtime.anthropic_native_proxy
    provider = _provider(case)
    if plan is None or provider is None or not native or case.choice.mode is not BillingMode.BYOK:
        return
    credential = credential_of(case.catalogue, provider, case.secrets)
    # None: any key of the tenant will do for a model of the platform.
    if credential is None:
        return
    for name in rivals_of(case.catalogue, credential, plan.variables):
        yield Notice(
            "ANOTHER_CREDENTIAL_IN_REACH",
            f"{name} holds another value than {credential.key}, and the runtime sends it too or"
            f" instead; delete it, unless {provider.name} may have it",
            metadata={"name": name, "credential": credential.key, "provider": provider.name},
        )
