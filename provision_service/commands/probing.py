"""Which probes concern a workspace, and what their results mean for a create or a launch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from agentworkspace.core.refusal import Refusal
from agentworkspace.core.secret import Secret
from provision_service.catalogue.catalogue import USAGE_TOKEN_ENV
from provision_service.domain.billing import BillingMode
from provision_service.domain.credentials import credential_of, vendor_providers
from provision_service.domain.decision import Decision, Inputs
from provision_service.domain.probing import (
    ProbeRequest,
    ProbeResult,
    ProbesPolicy,
    Template,
    Verdict,
)
from provision_service.domain.refusals import Reason
from provision_service.domain.secrets import MergedSecrets
from provision_service.domain.step import Notice

_WARNING_CODES: Final = {
    Verdict.INVALID: "INVALID_CREDENTIAL",
    Verdict.MISSING_SCOPE: "MISSING_SCOPE",
    Verdict.INCONCLUSIVE: "PROBE_INCONCLUSIVE",
}


def template_probes(templates: Mapping[str, Template], inputs: Inputs) -> list[ProbeRequest]:
    """What the workspace's template wants proven, with the values as stored."""
    template = templates.get(inputs.spec.template)
    if template is None:
        return []
    return [
        ProbeRequest(env=probe.env, value=_value(inputs.secrets, probe.env), probe=probe)
        for probe in template.probes
    ]


def menu_probes(inputs: Inputs) -> list[ProbeRequest]:
    """One question for every model on the runtime's menu, with the credential that would
    pay for it; a model whose vendor has no credential here is answered SKIP.
    """
    runtime = inputs.catalogue.runtimes.get(inputs.spec.runtime)
    if runtime is None:
        return []
    asked = []
    for offering in runtime.offerings:
        provider = offering.provider
        if provider.is_platform:
            env = USAGE_TOKEN_ENV
            value = None if inputs.platform.per_box else inputs.platform.usage_token
        else:
            found = credential_of(inputs.catalogue, provider, inputs.secrets)
            env = found.key if found is not None else provider.auth_env[0]
            value = found.value if found is not None else None
        asked += [
            ProbeRequest(env=env, value=value, provider=provider, model=model.id)
            for model in offering.models
            if not model.withdrawn
        ]
    return asked


def credential_probe(inputs: Inputs, decision: Decision) -> list[ProbeRequest]:
    """The question whether the credential that pays is taken by its vendor."""
    name = decision.resolution.provider_selection
    provider = inputs.catalogue.providers.get(name) if name else None
    if provider is None or provider.is_platform:
        return []
    found = credential_of(inputs.catalogue, provider, inputs.secrets)
    if found is None:
        return []
    return [ProbeRequest(env=found.key, value=found.value, provider=provider)]


def warnings_of(
    results: Sequence[ProbeResult], inputs: Inputs, decision: Decision
) -> tuple[Notice, ...]:
    """What a caller should know of the results: the stable code, the sentence, the names in it."""
    paying = _paying_names(inputs, decision)
    found = []
    for result in results:
        if result.verdict is Verdict.INVALID and _pays(result, paying):
            found.append(_notice(Reason.INVALID_BYOK_CREDENTIAL.value, result))
        elif result.verdict in _WARNING_CODES:
            found.append(_notice(_WARNING_CODES[result.verdict], result))
    return tuple(found)


def refusal_of(
    results: Sequence[ProbeResult], inputs: Inputs, decision: Decision, policy: ProbesPolicy
) -> Refusal | None:
    """INVALID_BYOK_CREDENTIAL when the vendor refused the key that pays, under `enforce`."""
    if policy is not ProbesPolicy.ENFORCE:
        return None
    paying = _paying_names(inputs, decision)
    for result in results:
        if result.verdict is Verdict.INVALID and _pays(result, paying):
            provider = decision.resolution.provider_selection or ""
            return Refusal(
                Reason.INVALID_BYOK_CREDENTIAL,
                f"{result.message}; store a valid {result.env}",
                metadata={"provider": provider, "key": result.env, "host": result.host},
            )
    return None


def _pays(result: ProbeResult, paying: frozenset[str]) -> bool:
    return result.is_model_credential or result.env in paying


def _paying_names(inputs: Inputs, decision: Decision) -> frozenset[str]:
    """Names under which the tenant's own key pays for this launch; none while the platform does."""
    if decision.resolution.resolved_mode is not BillingMode.BYOK:
        return frozenset()
    provider = inputs.catalogue.providers.get(decision.resolution.provider_selection or "")
    if provider is not None and not provider.is_platform:
        return frozenset(provider.auth_env)
    # The override says byok where no vendor derives: any key of the runtime's vendors may pay.
    runtime = inputs.catalogue.runtimes.get(inputs.spec.runtime)
    vendors = vendor_providers(runtime) if runtime is not None else ()
    return frozenset(name for vendor in vendors for name in vendor.auth_env)


def _notice(code: str, result: ProbeResult) -> Notice:
    return Notice(code, result.message, result.metadata)


def _value(secrets: MergedSecrets, env: str) -> Secret | None:
    row = secrets.by_key.get(env)
    return row.value if row is not None and row.present else None
