"""The gates of a launch, in their one order: the first that is shut is the refusal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agentworkspace.core.refusal import AnyReason, Refusal
from provision_service.catalogue.catalogue import (
    USAGE_TOKEN_ENV,
    Catalogue,
    Provider,
    Runtime,
)
from provision_service.catalogue.derivation import Derivation
from provision_service.domain.advice import menu_of, nearest, servable_now, wanted_name
from provision_service.domain.billing import BillingMode, ModeChoice
from provision_service.domain.credentials import (
    any_vendor_credential,
    credential_of,
    vendor_providers,
)
from provision_service.domain.launch_plan import LAUNCH_NAME, MAX_LAUNCH_BYTES
from provision_service.domain.model_choice import EffectiveModel
from provision_service.domain.ownership import uncounted, why_not_counted
from provision_service.domain.plan import LAUNCH_NAMES, EnvironmentPlan
from provision_service.domain.platform_proxy import PlatformProxy
from provision_service.domain.refusals import Reason
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import MergedSecrets, StoredSecret


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the gates look at; `derivation` is None for a runtime without a catalogue entry.

    `platform_model` is the platform's id that an override bills to the tenant's own key, in
    which case `model` and `derivation` are about the vendor's own id; else empty.
    """

    catalogue: Catalogue
    runtime_name: str
    model: EffectiveModel
    secrets: MergedSecrets
    platform: PlatformProxy
    choice: ModeChoice
    derivation: Derivation | None
    platform_model: str
    at_create: bool

    @property
    def runtime(self) -> Runtime | None:
        """The runtime's catalogue entry."""
        return self.catalogue.runtimes.get(self.runtime_name)

    @property
    def platform_pays(self) -> bool:
        """Whether the platform would pay for the launch."""
        return self.choice.mode is BillingMode.PLATFORM_MANAGED


def first_refusal(case: Case) -> Refusal | None:
    """The first gate that is shut, of those that need no environment; None when all are open."""
    return next(_shut_gates(case), None)


def _shut_gates(case: Case) -> Iterator[Refusal]:
    yield from _secrets_gates(case)
    if case.choice.mode is BillingMode.DISABLED or case.derivation is None:
        return
    runtime = case.runtime
    if runtime is None:
        yield _runtime_unknown(case)
        return
    yield from _model_gates(case, runtime, case.derivation)
    if case.choice.mode is BillingMode.BYOK:
        yield from _credential_gate(case, runtime, case.derivation.provider)
    else:
        missing = case.platform.missing_for(anthropic_native=runtime.anthropic_native_proxy)
        if missing:
            yield _missing_proxy(case, missing)


def _secrets_gates(case: Case) -> Iterator[Refusal]:
    rows = case.secrets.by_key.values()
    yield from _named(
        Reason.FORBIDDEN_ENV_KEY,
        [row for row in rows if case.catalogue.is_closed(row.key, row.scope)],
        "is a name that no tenant may set; delete it",
    )
    yield from _named(
        Reason.SECRET_UNDECRYPTABLE,
        [row for row in rows if row.value is None],
        "cannot be decrypted; set it again, or restore the key it was encrypted with",
    )
    if case.platform_pays and case.platform.usage_token_unreadable:
        yield _usage_token_unreadable()
    yield from _named(
        Reason.PLATFORM_CREDENTIAL_COMINGLED,
        [row for row in rows if row.comingled],
        "holds a credential of the platform; replace it with the tenant's own",
    )


def _named(reason: AnyReason, rows: list[StoredSecret], said: str) -> Iterator[Refusal]:
    if rows:
        shown = ", ".join(f"{row.key} ({_scope_words(row.scope)})" for row in rows)
        keys = ",".join(row.key for row in rows)
        yield Refusal(reason, f"{shown} {said}", metadata={"keys": keys})


def _usage_token_unreadable() -> Refusal:
    return Refusal(
        Reason.SECRET_UNDECRYPTABLE,
        "the tenant's usage token cannot be decrypted; give it again with SetTenantBilling, or"
        " restore the key it was encrypted with",
        metadata={"keys": USAGE_TOKEN_ENV},
    )


def _scope_words(scope: Scope) -> str:
    return "tenant-wide" if scope is Scope.GLOBAL else "workspace"


def _runtime_unknown(case: Case) -> Refusal:
    known = [*case.catalogue.runtimes, *sorted(case.catalogue.external_like)]
    return Refusal(
        Reason.RUNTIME_UNKNOWN,
        f"runtime `{case.runtime_name}` is not in the catalogue; use one of: {', '.join(known)}",
        metadata={"runtime": case.runtime_name, "catalogue_version": case.catalogue.version},
    )


def _model_gates(case: Case, runtime: Runtime, derivation: Derivation) -> Iterator[Refusal]:
    model = case.model.model
    metadata = {
        "runtime": runtime.name,
        "model": model,
        "catalogue_version": case.catalogue.version,
    }
    if derivation.reason is Reason.MODEL_REQUIRED:
        yield Refusal(
            Reason.MODEL_REQUIRED,
            f"runtime `{runtime.name}` needs a model and none is set in the spec or in"
            f" MOLECULE_MODEL or MODEL{_example(case, runtime)}",
            metadata=metadata,
        )
    elif derivation.reason is not None and _must_derive(case):
        yield _underivable(case, runtime, derivation, metadata)
    if case.at_create and derivation.withdrawn:
        yield Refusal(
            Reason.MODEL_WITHDRAWN,
            f"`{model}` is withdrawn and not given to new workspaces{_example(case, runtime)}",
            metadata=metadata,
        )


def _must_derive(case: Case) -> bool:
    """Whether a model without a provider is refused. An override to byok lets it through, so that
    an operator can run a model that the catalogue does not know; but not one of the platform's.
    """
    return case.choice.mode is not BillingMode.BYOK or bool(case.platform_model)


def _underivable(
    case: Case, runtime: Runtime, derivation: Derivation, metadata: dict[str, str]
) -> Refusal:
    model = case.model.model
    if derivation.reason is Reason.PROVIDER_AMBIGUOUS:
        names = [provider.name for provider in derivation.candidates]
        wanted = [wanted_name(case.catalogue, provider) for provider in derivation.candidates]
        return Refusal(
            Reason.PROVIDER_AMBIGUOUS,
            f"`{model}` could be served by {' or '.join(names)}: set the credential of exactly one"
            f" of them ({', '.join(dict.fromkeys(wanted))})",
            metadata={**metadata, "providers": ",".join(names)},
        )
    whose = ""
    if case.platform_model:
        whose = f", which is the vendor's own id behind `{case.platform_model}`"
        metadata = {**metadata, "platform_model": case.platform_model}
    return Refusal(
        Reason.MODEL_UNREGISTERED,
        f"no provider of runtime `{runtime.name}` serves `{model}`{whose}{_example(case, runtime)}",
        metadata=metadata,
    )


def _example(case: Case, runtime: Runtime) -> str:
    model = case.model.model
    servable = servable_now(case.catalogue, runtime, model, case.secrets)
    if servable is not None:
        return f"; with your {servable[1].key} use `{servable[0]}`"
    if not model and runtime.default_model is not None:
        return f"; for example `{runtime.default_model}`"
    offerings = [
        offering
        for offering in runtime.offerings
        if not (case.platform_model and offering.provider.is_platform)
    ]
    best = nearest(model, (m for offering in offerings for m in menu_of(offering)))
    return f"; for example `{best}`" if best is not None else ""


def _credential_gate(case: Case, runtime: Runtime, provider: Provider | None) -> Iterator[Refusal]:
    if provider is None:
        if any_vendor_credential(case.catalogue, runtime, case.secrets) is None:
            yield _missing_any_credential(case, runtime)
    elif credential_of(case.catalogue, provider, case.secrets) is None:
        yield _missing_credential(case, runtime, provider)


def _missing_credential(case: Case, runtime: Runtime, provider: Provider) -> Refusal:
    model = case.model.model
    wanted = wanted_name(case.catalogue, provider)
    use = ""
    servable = servable_now(case.catalogue, runtime, model, case.secrets)
    if servable is not None:
        use = f"with your {servable[1].key} use `{servable[0]}`, or "
    message = (
        f"provider {provider.name}: `{model}` needs {wanted}"
        f" (accepted: {_accepted_words(case.catalogue, provider)}); {use}add {wanted}"
    )
    # Others that have this very model on their menu: whoever holds their key need not buy another.
    others = {
        each.name: wanted_name(case.catalogue, each)
        for each in (case.derivation.candidates if case.derivation else ())
        if each is not provider and not each.is_platform
    }
    message += "".join(f", or {name} for {each}" for each, name in others.items())
    uncounted_rows = uncounted(case.catalogue, provider, case.secrets)
    said = (why_not_counted(case.catalogue, provider, r, case.secrets) for r in uncounted_rows)
    message += "".join(f"; {why}" for why in dict.fromkeys(said))
    return Refusal(
        Reason.MISSING_BYOK_CREDENTIAL,
        message,
        metadata={
            "runtime": runtime.name,
            "model": model,
            "provider": provider.name,
            "accepted": ",".join(provider.auth_env),
            **({"others": ",".join(others.values())} if others else {}),
        },
    )


def _accepted_words(catalogue: Catalogue, provider: Provider) -> str:
    everywhere = catalogue.accepted(provider, Scope.GLOBAL)
    return ", ".join(
        name if name in everywhere else f"{name} on the workspace itself"
        for name in provider.auth_env
    )


def _missing_any_credential(case: Case, runtime: Runtime) -> Refusal:
    vendors = vendor_providers(runtime)
    names = dict.fromkeys(wanted_name(case.catalogue, vendor) for vendor in vendors)
    model = case.model.model
    return Refusal(
        Reason.MISSING_BYOK_CREDENTIAL,
        f"the billing override says byok and `{model}` is not in the catalogue: add a credential"
        f" of one of the runtime's own vendors ({', '.join(names)}), or clear the override",
        metadata={"runtime": runtime.name, "model": model, "accepted": ",".join(names)},
    )


def _missing_proxy(case: Case, missing: tuple[str, ...]) -> Refusal:
    return Refusal(
        Reason.MISSING_PLATFORM_PROXY,
        f"the platform would pay for `{case.model.model}` in runtime `{case.runtime_name}`, and"
        f" this deployment lacks {' and '.join(missing)}",
        metadata={
            "runtime": case.runtime_name,
            "model": case.model.model,
            "missing": ",".join(missing),
        },
    )


def missing_required(required: tuple[str, ...], plan: EnvironmentPlan) -> Refusal | None:
    """MISSING_REQUIRED_ENV when a name that the spec requires would not reach the box."""
    missing = [name for name in required if not _reaches_the_box(name, plan)]
    if not missing:
        return None
    removed = {entry.name: entry.why for entry in plan.removed}
    shown = ", ".join(
        f"{name} (set, but {removed[name]})" if name in removed else name for name in missing
    )
    return Refusal(
        Reason.MISSING_REQUIRED_ENV,
        f"the workspace requires {shown}: set it as a secret, or take it off required_env",
        metadata={"keys": ",".join(missing)},
    )


def launch_too_large(plan: EnvironmentPlan) -> Refusal | None:
    """SECRET_LIMIT_EXCEEDED when the box could not be started with its launch in a variable."""
    launch = plan.variables.get(LAUNCH_NAME)
    size = len(launch.value.reveal()) if launch is not None else 0
    if size <= MAX_LAUNCH_BYTES:
        return None
    return Refusal(
        Reason.SECRET_LIMIT_EXCEEDED,
        f"{LAUNCH_NAME} would be {size} bytes, and a box starts with at most {MAX_LAUNCH_BYTES};"
        " shorten the model id or the endpoint",
        metadata={"bytes": str(size), "limit_bytes": str(MAX_LAUNCH_BYTES)},
    )


def _reaches_the_box(name: str, plan: EnvironmentPlan) -> bool:
    if name in LAUNCH_NAMES:
        return True
    variable = plan.variables.get(name)
    return variable is not None and not variable.value.is_blank()
