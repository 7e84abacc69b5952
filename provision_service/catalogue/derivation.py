"""Which provider serves a model in a runtime, given the names of the credentials present."""

from __future__ import annotations

from dataclasses import dataclass

from agentworkspace.core.refusal import AnyReason
from provision_service.catalogue.catalogue import Catalogue, Provider
from provision_service.domain.refusals import Reason
from provision_service.domain.step import Step


@dataclass(frozen=True, slots=True)
class PresentNames:
    """Names of the non-blank credentials: those set on the workspace itself, and those set on it or
    tenant-wide.
    """

    workspace: frozenset[str]
    everywhere: frozenset[str]

    @classmethod
    def unscoped(cls, names: frozenset[str]) -> PresentNames:
        """Names whose scope is not known; they count as set on the workspace."""
        return cls(workspace=names, everywhere=names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """Exactly one of `provider` and `reason` is set; `candidates` are those that matched.

    `by_pattern`: no menu lists the model, a pattern alone found the provider.
    """

    provider: Provider | None
    reason: AnyReason | None
    candidates: tuple[Provider, ...]
    withdrawn: bool
    steps: tuple[Step, ...]
    by_pattern: bool = False


def derive(
    catalogue: Catalogue,
    *,
    runtime: str,
    model: str,
    present: PresentNames,
    without_platform: bool = False,
) -> Derivation:
    """Derive the provider of `model` in `runtime`; it never guesses and never looks wider.

    A model id on a menu beats every pattern. Several menus that list it are a tie, which
    present credentials break, else the first declared; several patterns are ambiguous
    unless the present credentials single one out. `without_platform`: among vendors alone.
    """
    steps: list[Step] = []
    wanted = model.strip()
    steps.append(_model_required(wanted))
    if not wanted:
        return _refused(Reason.MODEL_REQUIRED, steps)
    entry = catalogue.runtimes.get(runtime)
    steps.append(_runtime_unknown(runtime, known=entry is not None))
    if entry is None:
        return _refused(Reason.RUNTIME_UNKNOWN, steps)
    listing = _among(entry.listing(wanted), without_platform=without_platform)
    steps.append(_matched("derivation.exact", wanted, listing))
    if not listing:
        matching = _among(entry.matching(wanted), without_platform=without_platform)
        return _by_pattern(matching, wanted, present, steps)
    provider = listing[0] if len(listing) == 1 else _break_tie(listing, present, steps)
    return Derivation(
        provider=provider,
        reason=None,
        candidates=listing,
        withdrawn=entry.is_withdrawn(provider, wanted),
        steps=tuple(steps),
    )


def _among(providers: tuple[Provider, ...], *, without_platform: bool) -> tuple[Provider, ...]:
    return tuple(p for p in providers if not (without_platform and p.is_platform))


def _break_tie(listing: tuple[Provider, ...], present: PresentNames, steps: list[Step]) -> Provider:
    for rule, names in (
        ("derivation.tie_workspace_credential", present.workspace),
        ("derivation.tie_any_credential", present.everywhere),
    ):
        single = _single(listing, names)
        steps.append(_singled_out(rule, single, listing, names))
        if single is not None:
            return single
    first = listing[0].name
    text = f"no credential decides, and {first} is declared first"
    steps.append(Step("derivation.tie_first_declared", fired=True, inputs=(first,), text=text))
    return listing[0]


def _by_pattern(
    matching: tuple[Provider, ...], wanted: str, present: PresentNames, steps: list[Step]
) -> Derivation:
    steps.append(_matched("derivation.pattern", wanted, matching))
    if not matching:
        return _refused(Reason.MODEL_UNREGISTERED, steps)
    provider: Provider | None = matching[0]
    if len(matching) > 1:
        provider = _single(matching, present.everywhere)
        rule = "derivation.pattern_tie_credential"
        steps.append(_singled_out(rule, provider, matching, present.everywhere))
    if provider is None:
        return _refused(Reason.PROVIDER_AMBIGUOUS, steps, matching)
    return Derivation(
        provider=provider,
        reason=None,
        candidates=matching,
        withdrawn=False,
        steps=tuple(steps),
        by_pattern=True,
    )


def _single(candidates: tuple[Provider, ...], names: frozenset[str]) -> Provider | None:
    meeting = [provider for provider in candidates if provider.meets(names)]
    return meeting[0] if len(meeting) == 1 else None


def _refused(
    reason: AnyReason, steps: list[Step], candidates: tuple[Provider, ...] = ()
) -> Derivation:
    return Derivation(
        provider=None, reason=reason, candidates=candidates, withdrawn=False, steps=tuple(steps)
    )


def _model_required(wanted: str) -> Step:
    text = "there is a model id" if wanted else "there is no model id"
    inputs = (wanted,) if wanted else ()
    return Step("derivation.model_required", fired=not wanted, inputs=inputs, text=text)


def _runtime_unknown(runtime: str, *, known: bool) -> Step:
    text = f"runtime `{runtime}` is {'' if known else 'not '}in the catalogue"
    return Step("derivation.runtime_unknown", fired=not known, inputs=(runtime,), text=text)


def _matched(rule: str, wanted: str, providers: tuple[Provider, ...]) -> Step:
    names = ", ".join(provider.name for provider in providers) or "none of the runtime's providers"
    verb = "listed by" if rule == "derivation.exact" else "matched by the pattern of"
    return Step(rule, fired=bool(providers), inputs=(wanted,), text=f"{verb} {names}")


def _singled_out(
    rule: str, single: Provider | None, among: tuple[Provider, ...], names: frozenset[str]
) -> Step:
    accepted = {name for provider in among for name in provider.auth_env}
    met = tuple(sorted(accepted & names))
    text = "these credentials single nothing out"
    if single is not None:
        text = f"only {single.name} accepts a credential that is there"
    return Step(rule, fired=single is not None, inputs=met, text=text)
