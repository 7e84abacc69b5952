"""The exact environment of a box, by billing mode and runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agentworkspace.core.secret import Secret
from provision_service.catalogue.catalogue import (
    PLATFORM,
    USAGE_TOKEN_ENV,
    Catalogue,
    Provider,
    Runtime,
)
from provision_service.domain.billing import BillingMode
from provision_service.domain.expansion import Expansion
from provision_service.domain.launch_plan import LaunchPlan
from provision_service.domain.model_choice import EffectiveModel, ModelSource
from provision_service.domain.payer import Payer, payer_of
from provision_service.domain.plan import (
    ORIGIN_OF_SCOPE,
    EnvironmentPlan,
    Origin,
    Removed,
    Variable,
)
from provision_service.domain.platform_proxy import PlatformProxy, for_workspace
from provision_service.domain.removal import PARENT_ID, removal_rules
from provision_service.domain.secrets import MODEL_NAMES, MergedSecrets, StoredSecret
from provision_service.domain.spec import WorkspaceSpec
from provision_service.domain.step import Step

WORKSPACE_HEADER: Final = "X-Molecule-Workspace-Id"
BASE_URL: Final = "ANTHROPIC_BASE_URL"
_MODES: Final = {mode: Variable(Secret(mode.value), Origin.DERIVED) for mode in BillingMode}


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What was decided for one launch, as far as its environment depends on it."""

    workspace_id: str
    spec: WorkspaceSpec
    mode: BillingMode
    provider: Provider | None
    model: EffectiveModel


def plan_environment(
    catalogue: Catalogue, launch: Launch, secrets: MergedSecrets, platform: PlatformProxy
) -> EnvironmentPlan:
    """The tenant's secrets that may pass, verbatim, and over them what the mode sets."""
    runtime = catalogue.runtimes.get(launch.spec.runtime)
    payer = payer_of(
        catalogue,
        runtime=runtime,
        mode=launch.mode,
        derived=launch.provider,
        model=launch.model.model,
        secrets=secrets,
        platform=platform,
    )
    variables, removed = _passed_on(catalogue, launch, secrets, platform, payer)
    key_env = ""
    if launch.mode is BillingMode.PLATFORM_MANAGED:
        key_env = _set_platform(variables, runtime, launch.workspace_id, platform)
    elif launch.mode is BillingMode.BYOK:
        key_env = _set_own_key(catalogue, runtime, launch.provider, payer, variables)
    _set_decision(variables, runtime, launch, secrets)
    plan: LaunchPlan | None = None
    steps: tuple[Step, ...] = ()
    if runtime is not None and runtime.recipe is not None and payer is not None and payer.way:
        expansion = Expansion(
            catalogue=catalogue,
            runtime=runtime,
            recipe=runtime.recipe,
            way=payer.way,
            payer=payer,
            secrets=secrets,
            platform=platform,
            workspace_id=launch.workspace_id,
            variables=variables,
            removed=removed,
            key_env=key_env,
        )
        plan, steps = expansion.run(), tuple(expansion.steps)
    keys = _platform_keys(variables, platform)
    pays_per_box = platform.per_box and launch.mode is BillingMode.PLATFORM_MANAGED
    return EnvironmentPlan(
        variables,
        tuple(removed),
        plan,
        steps,
        keys,
        pays_per_box,
        payer.name if payer is not None else "",
    )


def _passed_on(
    catalogue: Catalogue,
    launch: Launch,
    secrets: MergedSecrets,
    platform: PlatformProxy,
    payer: Payer | None,
) -> tuple[dict[str, Variable], list[Removed]]:
    """The tenant's secrets that reach the box as they are, and those that do not."""
    spelled = payer.model if payer is not None else launch.model.model
    rules = removal_rules(
        catalogue,
        runtime=launch.spec.runtime,
        mode=launch.mode,
        provider=launch.provider,
        paid=payer.provider if payer is not None else launch.provider,
        pays_with=payer.name if payer is not None else "",
        secrets=secrets,
        platform=platform,
        model_names=frozenset({launch.model.model, spelled}),
    )
    variables: dict[str, Variable] = {}
    removed: list[Removed] = []
    for key, row in secrets.by_key.items():
        if key in MODEL_NAMES or row.value is None:
            continue
        taken_out = rules.removal(row)
        if taken_out is None:
            variables[key] = Variable(row.value, ORIGIN_OF_SCOPE[row.scope])
        else:
            removed.append(taken_out)
    return variables, removed


def _platform_keys(variables: dict[str, Variable], platform: PlatformProxy) -> frozenset[str]:
    token = platform.usage_token
    return frozenset(
        name
        for name, variable in variables.items()
        if variable.origin is Origin.PLATFORM and variable.value == token
    )


def _set_decision(
    variables: dict[str, Variable],
    runtime: Runtime | None,
    launch: Launch,
    secrets: MergedSecrets,
) -> None:
    variables["MOLECULE_LLM_BILLING_MODE"] = _MODES[launch.mode]
    variables["MOLECULE_LLM_BILLING_MODE_RESOLVED"] = _MODES[launch.mode]
    if launch.model.model:
        value = Variable(Secret(launch.model.model), _model_origin(launch.model, secrets))
        for name in MODEL_NAMES:
            variables[name] = value
        if runtime is not None and runtime.extra_model_env is not None:
            variables[runtime.extra_model_env] = value
    if launch.spec.role.strip():
        variables["MOLECULE_AGENT_ROLE"] = Variable(Secret(launch.spec.role), Origin.SPEC)
    if launch.spec.parent_id.strip():
        variables[PARENT_ID] = Variable(Secret(launch.spec.parent_id), Origin.SPEC)


def _model_origin(model: EffectiveModel, secrets: MergedSecrets) -> Origin:
    if model.source in (ModelSource.REQUEST, ModelSource.SPEC):
        return Origin.SPEC
    return ORIGIN_OF_SCOPE[secrets.by_key[model.source.removeprefix("secret:")].scope]


def _set_platform(
    variables: dict[str, Variable],
    runtime: Runtime | None,
    workspace_id: str,
    platform: PlatformProxy,
) -> str:
    """Point the runtime at the proxy; returns the name that the proxy's key is set under."""

    def put(name: str, text: str | None) -> None:
        if text and text.strip():
            value = Secret(for_workspace(text, workspace_id))
            variables[name] = Variable(value, Origin.PLATFORM)

    variables["MOLECULE_RESOLVED_PROVIDER"] = Variable(Secret(PLATFORM), Origin.DERIVED)
    put("MOLECULE_LLM_BASE_URL", platform.base_url)
    put("MOLECULE_LLM_ANTHROPIC_BASE_URL", platform.anthropic_base_url)
    put("MOLECULE_LLM_USAGE_URL", platform.usage_url)
    native = runtime is not None and runtime.anthropic_native_proxy
    surface = "ANTHROPIC" if native else "OPENAI"
    put(f"{surface}_BASE_URL", platform.anthropic_base_url if native else platform.base_url)
    if native:
        put("ANTHROPIC_CUSTOM_HEADERS", f"{WORKSPACE_HEADER}: {workspace_id}")
    if platform.usage_token is not None:
        token = Variable(platform.usage_token, Origin.PLATFORM)
        variables[USAGE_TOKEN_ENV] = token
        variables[f"{surface}_API_KEY"] = token
    return f"{surface}_API_KEY"


def _set_own_key(
    catalogue: Catalogue,
    runtime: Runtime | None,
    provider: Provider | None,
    payer: Payer | None,
    variables: dict[str, Variable],
) -> str:
    """Name the provider, and point an anthropic-native runtime at it; returns the name that the
    paying key is set under, empty for none.
    """
    if provider is not None:
        value = Variable(Secret(provider.name), Origin.DERIVED)
        variables["MOLECULE_RESOLVED_PROVIDER"] = value
    if payer is None or payer.credential is None:
        return ""
    if runtime is None or not runtime.anthropic_native_proxy:
        return payer.name
    projected = project(catalogue, payer.provider, payer.credential, variables)
    variables.update(projected)
    return payer.provider.auth_token_env if projected else payer.name


def project(
    catalogue: Catalogue,
    provider: Provider,
    credential: StoredSecret,
    variables: Mapping[str, Variable],
) -> dict[str, Variable]:
    """Variables that point the runtime at `provider` with the tenant's credential for it.

    An endpoint that the tenant set is respected; one that leads to another vendor is not
    among `variables` any more.
    """
    if credential.value is None:
        return {}
    chosen_by_tenant = BASE_URL in variables
    projected: dict[str, Variable] = {}
    if not chosen_by_tenant and provider.anthropic_base_url is not None:
        url = provider.anthropic_base_url.removesuffix("/v1")
        projected[BASE_URL] = Variable(Secret(url), Origin.DERIVED)
    if chosen_by_tenant or projected or provider.auth_token_env in catalogue.own_names(provider):
        origin = ORIGIN_OF_SCOPE[credential.scope]
        projected[provider.auth_token_env] = Variable(credential.value, origin)
    return projected
