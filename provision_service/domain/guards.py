"""What may be written as a secret, at which scope, and what a model secret turns into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentworkspace.core.refusal import Refusal, Violation, refuse_shape
from provision_service.catalogue.catalogue import Catalogue
from provision_service.domain.billing import BillingMode
from provision_service.domain.decision import Decision, Inputs
from provision_service.domain.environment_names import NAME_WANTED, is_environment_name
from provision_service.domain.refusals import Reason
from provision_service.domain.removal import removal_rules
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import MODEL_NAMES, StoredSecret

MAX_VALUE_BYTES: Final = 64 * 1024
MAX_TOTAL_BYTES: Final = 512 * 1024


def secret_violations(key: str, value: str, *, field: str = "") -> list[Violation]:
    """What is wrong with the shape of one secret; `field` is where it stands in the request."""
    prefix = f"{field}." if field else ""
    found = []
    if not is_environment_name(key):
        found.append(Violation(f"{prefix}key", NAME_WANTED))
    size = len(value.encode("utf-8", "surrogatepass"))
    if not 1 <= size <= MAX_VALUE_BYTES:
        found.append(Violation(f"{prefix}value", f"must be 1 byte to 64 KiB, not {size} bytes"))
    if "\0" in value:
        found.append(Violation(f"{prefix}value", "must not contain a NUL character"))
    return found


def secrets_violations(secrets: Mapping[str, str], *, field: str = "secrets") -> list[Violation]:
    """What is wrong with the shape of a map of secrets, every entry named."""
    found: list[Violation] = []
    for key, value in secrets.items():
        found += secret_violations(key, value, field=f"{field}[{key[:128]}]")
    return found


def refuse_too_much(total: int) -> None:
    """Raise SECRET_LIMIT_EXCEEDED when all secrets together are over 512 KiB."""
    if total > MAX_TOTAL_BYTES:
        raise Refusal(
            Reason.SECRET_LIMIT_EXCEEDED,
            f"all secrets together would be {total} bytes; the limit is {MAX_TOTAL_BYTES}",
            metadata={"bytes": str(total), "limit_bytes": str(MAX_TOTAL_BYTES)},
        )


def refuse_forbidden(catalogue: Catalogue, key: str, scope: Scope) -> None:
    """Raise FORBIDDEN_ENV_KEY for a forbidden or reserved name at this scope."""
    if not catalogue.is_closed(key, scope):
        return
    if key in catalogue.names.source_host_tokens:
        remedy = "set it on the workspace that needs it, not for the whole tenant"
    else:
        remedy = "this name belongs to the platform: choose another"
    raise Refusal(
        Reason.FORBIDDEN_ENV_KEY,
        f"{key} may not be set as a {scope} secret; {remedy}",
        metadata={"keys": key, "scope": scope.value},
    )


def refuse_global_bypass(catalogue: Catalogue, key: str, default_billing: BillingMode) -> None:
    """Raise BYPASS_KEY_REFUSED for a bypass name of a tenant that the platform pays for."""
    if default_billing is not BillingMode.PLATFORM_MANAGED:
        return
    if key in catalogue.bypass_names_of_any_runtime() or key in catalogue.routes_of_any_runtime():
        raise Refusal(
            Reason.BYPASS_KEY_REFUSED,
            f"{key} would route around the metered proxy, and this tenant's default billing is"
            " platform_managed; set it on one byok workspace, or change the default",
            metadata={"key": key, "scope": Scope.GLOBAL.value},
        )


def refuse_workspace_bypass(
    catalogue: Catalogue, key: str, *, runtime: str, resolved_mode: BillingMode
) -> None:
    """Raise BYPASS_KEY_REFUSED for a bypass name of a workspace that the platform pays for."""
    if resolved_mode is not BillingMode.PLATFORM_MANAGED:
        return
    if key in catalogue.bypass_names(runtime):
        raise Refusal(
            Reason.BYPASS_KEY_REFUSED,
            f"{key} would route around the metered proxy, and this workspace is platform_managed;"
            " choose a vendor's model or set the billing override to byok first",
            metadata={"key": key, "scope": Scope.WORKSPACE.value},
        )


def refuse_unknown_provider(catalogue: Catalogue, said: str, *, field: str = "provider") -> None:
    """Raise INVALID_REQUEST for a name that no provider or vendor has; an empty one is fine."""
    vendors = (p for p in catalogue.providers.values() if not p.is_platform)
    known = {name for vendor in vendors for name in (vendor.name, vendor.owner)}
    if said and said not in known:
        described = f"must be a provider or a vendor of the catalogue: {', '.join(sorted(known))}"
        refuse_shape([Violation(field, described)])


def take_model(secrets: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Split workspace secrets into those to store and the model they name, empty if none.

    MOLECULE_MODEL wins over MODEL, and neither is stored as a secret. A model in the spec itself
    wins over both, which the caller sees to.
    """
    kept = {key: value for key, value in secrets.items() if key not in MODEL_NAMES}
    named = (secrets.get(name, "").strip() for name in MODEL_NAMES)
    return kept, next(filter(None, named), "")


def refuse_workspace_route(inputs: Inputs, before: Decision, row: StoredSecret) -> None:
    """Raise BYPASS_KEY_REFUSED for a name that would lead the program of this workspace
    elsewhere, and would therefore not be handed on.
    """
    resolution, catalogue = before.resolution, inputs.catalogue
    provider = catalogue.providers.get(resolution.provider_selection or "")
    model = resolution.effective_model
    spelled = {model, provider.vendors_id(model) if provider is not None else model}
    if before.plan is not None and before.plan.launch is not None:
        spelled.add(before.plan.launch.model)
    rules = removal_rules(
        catalogue,
        runtime=inputs.spec.runtime,
        mode=resolution.resolved_mode,
        provider=None,
        paid=None,
        pays_with="",
        secrets=inputs.secrets,
        platform=inputs.platform,
        model_names=frozenset(spelled),
    )
    why = rules.why_route_removed(row)
    if why is not None:
        raise Refusal(
            Reason.BYPASS_KEY_REFUSED,
            f"{row.key} {why}, and would not reach the box; leave it out",
            metadata={"key": row.key, "scope": row.scope.value, "runtime": inputs.spec.runtime},
        )


def refuse_global_route(catalogue: Catalogue, key: str) -> None:
    """Raise BYPASS_KEY_REFUSED for a name that no box would ever get as a tenant-wide secret."""
    if key in catalogue.names.tls_switches:
        why = "would switch off the check of TLS certificates"
    elif key in catalogue.switches_of_any_runtime():
        why = "would lead an agent's program to another endpoint, vendor or set of settings"
    else:
        return
    raise Refusal(
        Reason.BYPASS_KEY_REFUSED,
        f"{key} {why}, and would not reach any box that reads it; leave it out",
        metadata={"key": key, "scope": Scope.GLOBAL.value},
    )
