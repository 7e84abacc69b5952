"""The one decision of a launch: who pays, what the box gets, and why it may not start."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.refusal import Refusal
from provision_service.catalogue.catalogue import Catalogue, Provider
from provision_service.catalogue.derivation import Derivation, PresentNames, derive
from provision_service.domain.advice import smallest_change
from provision_service.domain.billing import (
    BillingMode,
    ModeChoice,
    Resolution,
    choose_mode,
    mode_without_launch,
)
from provision_service.domain.environment import Launch, plan_environment
from provision_service.domain.gates import (
    Case,
    first_refusal,
    launch_too_large,
    missing_required,
)
from provision_service.domain.model_choice import effective_model, of_the_vendor
from provision_service.domain.plan import EnvironmentPlan
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.secrets import MergedSecrets
from provision_service.domain.spec import WorkspaceSpec
from provision_service.domain.step import Notice
from provision_service.domain.warnings import steps_of_plan, warnings_of_case, warnings_of_plan


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
        refusal = missing_required(inputs.spec.required_env, plan) or launch_too_large(plan)
    return Decision(
        resolution=_resolution(inputs, case, plan, refusal),
        plan=plan if refusal is None else None,
        refusal=refusal,
        warnings=(*warnings_of_case(case), *warnings_of_plan(case, plan)),
        skipped=case.derivation is None,
    )


def _case(inputs: Inputs) -> Case:
    catalogue, spec, secrets = inputs.catalogue, inputs.spec, inputs.secrets
    model = effective_model(
        request_model=inputs.request_model, spec_model=spec.model, secrets=secrets
    )
    derivation = None
    platform_model = ""
    if catalogue.has_no_entry_by_design(spec.runtime):
        choice = mode_without_launch(spec.runtime, spec.billing_mode_override)
    else:
        present = PresentNames(workspace=secrets.present_at_workspace, everywhere=secrets.present)
        derivation = derive(catalogue, runtime=spec.runtime, model=model.model, present=present)
        choice = choose_mode(spec.billing_mode_override, derivation)
        if _pays_for_a_platform_model(choice, derivation):
            platform_model = model.model
            model = of_the_vendor(model)
            derivation = derive(
                catalogue,
                runtime=spec.runtime,
                model=model.model,
                present=present,
                without_platform=True,
            )
    return Case(
        catalogue=catalogue,
        runtime_name=spec.runtime,
        model=model,
        secrets=secrets,
        platform=inputs.platform,
        choice=choice,
        derivation=derivation,
        platform_model=platform_model,
        at_create=inputs.at_create,
    )


def _pays_for_a_platform_model(choice: ModeChoice, derivation: Derivation) -> bool:
    """Whether an override bills a model of the platform to the tenant's own key."""
    derived = derivation.provider
    return choice.override is BillingMode.BYOK and derived is not None and derived.is_platform


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


def _resolution(
    inputs: Inputs, case: Case, plan: EnvironmentPlan | None, refusal: Refusal | None
) -> Resolution:
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
        steps=(*case.model.steps, *derived_steps, *case.choice.steps, *steps_of_plan(plan)),
        catalogue_version=inputs.catalogue.version,
        change=smallest_change(
            inputs.catalogue,
            runtime=case.runtime,
            model=case.model.model,
            choice=case.choice,
            derivation=case.derivation,
            secrets=inputs.secrets,
            platform_model=case.platform_model,
        ),
    )
