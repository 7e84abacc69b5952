"""Who pays: the billing mode, from an override or the derived provider, with its reasons."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from agentworkspace.core.refusal import AnyReason
from provision_service.catalogue.derivation import Derivation
from provision_service.domain.step import Step

_SHOWN_OVERRIDE_LENGTH: Final = 40


@unique
class BillingMode(StrEnum):
    """Whose LLM bill it is: the platform's, the tenant's own key's, or nobody's."""

    PLATFORM_MANAGED = "platform_managed"
    BYOK = "byok"
    DISABLED = "disabled"


@unique
class Source(StrEnum):
    """What decided the mode."""

    WORKSPACE_OVERRIDE = "workspace_override"
    DERIVED_PROVIDER = "derived_provider"
    DERIVED_DEFAULT = "derived_default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The answer to "who pays", with every rule that was asked on the way.

    `provider_selection` is the derived provider's name, None when nothing derives.
    `workspace_override` is the stored override when it is a known mode, else None.
    `refusal` is why a launch would be refused now, None when it would start.
    `change` is the smallest change that would give another payer, in words.
    """

    workspace_id: str
    resolved_mode: BillingMode
    source: Source
    provider_selection: str | None
    workspace_override: BillingMode | None
    effective_model: str
    effective_model_source: str
    refusal: AnyReason | None
    steps: tuple[Step, ...]
    catalogue_version: str
    change: str


def parse_override(text: str | None) -> BillingMode | None:
    """The override, or None when there is none or the stored text is no known mode."""
    try:
        return BillingMode(text) if text else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class ModeChoice:
    """The mode, what decided it, and the rules that were asked."""

    mode: BillingMode
    source: Source
    override: BillingMode | None
    steps: tuple[Step, ...]


def mode_without_launch(runtime: str, override_text: str | None) -> ModeChoice:
    """The mode of a runtime that has no catalogue entry by design: nobody pays here."""
    override = parse_override(override_text)
    text = f"runtime `{runtime}` brings its own model or none: there is no LLM to bill here"
    if override is not None:
        text += f"; the stored override `{override}` has no effect"
    step = Step("runtime.without_catalogue_entry", fired=True, inputs=(runtime,), text=text)
    return ModeChoice(BillingMode.DISABLED, Source.DERIVED_DEFAULT, override, (step,))


def choose_mode(override_text: str | None, derivation: Derivation) -> ModeChoice:
    """A known override, else the derived provider, else platform_managed by default."""
    override = parse_override(override_text)
    steps = [_override_step(override_text, override)]
    derived = derivation.provider
    by_platform = derived is not None and derived.is_platform
    by_vendor = derived is not None and not derived.is_platform
    if override is not None:
        mode, source = override, Source.WORKSPACE_OVERRIDE
    elif derived is not None:
        mode = BillingMode.PLATFORM_MANAGED if by_platform else BillingMode.BYOK
        source = Source.DERIVED_PROVIDER
    else:
        mode, source = BillingMode.PLATFORM_MANAGED, Source.DERIVED_DEFAULT
    names = (derived.name,) if derived is not None else ()
    reasons = (derivation.reason.value,) if derivation.reason is not None else ()
    rules = (
        (
            "mode.derived_platform",
            by_platform,
            names,
            "a model of the platform's own provider is the platform's bill",
        ),
        (
            "mode.derived_vendor",
            by_vendor,
            names,
            "a model of any other provider is the bill of the tenant's own key",
        ),
        (
            "mode.default",
            derived is None,
            reasons,
            "a model that nothing derives resolves as platform_managed, and does not launch so",
        ),
    )
    for rule, fits, inputs, text in rules:
        steps.append(Step(rule, fired=fits and override is None, inputs=inputs, text=text))
    return ModeChoice(mode, source, override, tuple(steps))


def _override_step(override_text: str | None, override: BillingMode | None) -> Step:
    if not override_text:
        return Step("mode.override", fired=False, inputs=(), text="no override is stored")
    if override is None:
        shown = override_text[:_SHOWN_OVERRIDE_LENGTH]
        return Step(
            "mode.override",
            fired=False,
            inputs=(shown,),
            text="the stored override is no known mode: ignored",
        )
    return Step(
        "mode.override",
        fired=True,
        inputs=(override.value,),
        text=f"the override says {override}",
    )
