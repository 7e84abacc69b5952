"""Warnings of a decision: what is worth knowing about a launch that is not refused."""

from __future__ import annotations

from collections.abc import Iterator

from provision_service.catalogue.catalogue import Provider
from provision_service.domain.advice import nearest_names
from provision_service.domain.billing import BillingMode
from provision_service.domain.credentials import credential_of
from provision_service.domain.gates import Case
from provision_service.domain.ownership import ANTHROPIC, ANYONE
from provision_service.domain.plan import EnvironmentPlan, RemovalCode, Removed
from provision_service.domain.step import Notice, Step


def warnings_of_case(case: Case) -> Iterator[Notice]:
    """Warnings about the model and the override."""
    derivation, override, model = case.derivation, case.choice.override, case.model.model
    if derivation is None:
        return
    provider = derivation.provider
    if derivation.withdrawn:
        yield Notice("MODEL_WITHDRAWN", f"`{model}` is withdrawn: choose another for the future")
    if derivation.by_pattern:
        yield _not_listed(case)
    if provider is not None and case.choice.mode is BillingMode.BYOK:
        yield from _nobodys(case, provider)
    if override is BillingMode.PLATFORM_MANAGED and provider and not provider.is_platform:
        yield Notice(
            "OVERRIDE_PLATFORM_OVER_VENDOR_MODEL",
            f"`{model}` is served by {provider.name}, and the override bills it to the platform",
        )
    if case.platform_model and provider is not None:
        yield Notice(
            "OVERRIDE_BYOK_OVER_PLATFORM_MODEL",
            f"`{case.platform_model}` is a model of the platform, and the override bills it to the"
            f" tenant's key: the box runs {provider.name}'s `{model}`",
            {"model": case.platform_model, "vendors_id": model, "provider": provider.name},
        )
    if _is_the_way_out(case) and override is BillingMode.BYOK:
        yield Notice(
            "OVERRIDE_BYOK_OVER_UNDERIVABLE_MODEL",
            f"no provider derives for `{model}`: every credential of the tenant is left in place",
        )


def _is_the_way_out(case: Case) -> bool:
    derivation = case.derivation
    underivable = derivation is not None and derivation.provider is None
    return underivable and case.runtime is not None and bool(case.model.model)


def _nobodys(case: Case, provider: Provider) -> Iterator[Notice]:
    """A credential that goes to this vendor only until somebody says whose it is."""
    credential = credential_of(case.catalogue, provider, case.secrets)
    if credential is None or credential.provider != ANYONE or provider.owner == ANTHROPIC:
        return
    yield Notice(
        "SECRET_PROVIDER_UNKNOWN",
        f"nobody said whose {credential.key} is, and it goes to {provider.name}; say so with"
        " `workspacectl secrets assign-provider`, or it will count as Anthropic's",
        {"name": credential.key, "provider": provider.name},
    )


def _not_listed(case: Case) -> Notice:
    model = case.model.model
    provider = case.derivation.provider if case.derivation is not None else None
    name = provider.name if provider is not None else ""
    close = nearest_names(case.runtime, provider, model)
    shown = ", ".join(f"`{candidate}`" for candidate in close)
    said = f"; the nearest on the menu are {shown}" if close else ""
    return Notice(
        "MODEL_NOT_LISTED",
        f"`{model}` is on no menu of runtime `{case.runtime_name}`: it launches because a pattern"
        f" of {name} matches it, so check its spelling{said}",
        {"model": model, "provider": name, "nearest": ",".join(close)},
    )


def warnings_of_plan(case: Case, plan: EnvironmentPlan | None) -> Iterator[Notice]:
    """Warnings about what was taken out of the environment, and what the proxy cannot know."""
    if plan is None:
        return
    for entry in plan.removed:
        if entry.code is not RemovalCode.SILENT:
            yield _removed(entry)
    runtime = case.runtime
    if plan.launch is None or runtime is None or runtime.recipe is None:
        return
    missing = plan.launch.endpoint_missing
    if missing:
        provider = case.derivation.provider if case.derivation is not None else None
        name = provider.name if provider is not None else "this model"
        yield Notice(
            "ENDPOINT_UNKNOWN",
            f"nobody says where {name} is reached: set {missing} to its address",
            {"provider": name, "name": missing},
        )
    if case.platform_pays and not plan.per_box and not plan.launch.names_workspace:
        yield Notice(
            "WORKSPACE_NOT_METERED",
            f"{runtime.name} cannot send the workspace's header: put {{workspace_id}} into"
            " PLATFORM_LLM_BASE_URL, or the proxy bills the tenant as a whole",
            {"runtime": runtime.name},
        )


def steps_of_plan(plan: EnvironmentPlan | None) -> Iterator[Step]:
    """Every removal that is warned of, as a rule that fired."""
    if plan is None:
        return
    yield from plan.steps
    for entry in plan.removed:
        if entry.code is not RemovalCode.SILENT:
            rule = f"environment.{entry.code.name.lower()}"
            shown = (f"{entry.name}@{entry.scope}", *((entry.other,) if entry.other else ()))
            yield Step(rule, fired=True, inputs=shown, text=f"{entry.name} {entry.why}")


def _removed(entry: Removed) -> Notice:
    return Notice(
        entry.code.value,
        f"{entry.name} ({entry.scope}) {entry.why}, so it does not reach the box; {entry.remedy}",
        {"name": entry.name, "scope": entry.scope.value, "other": entry.other},
    )
