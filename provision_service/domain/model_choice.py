"""The model that a box will run: of several sources, in a fixed order, the first not blank."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from provision_service.domain.secrets import MODEL_NAMES, MergedSecrets
from provision_service.domain.step import Step

_VENDOR: Final = re.compile(r"^[^/:]*[/:]")


@unique
class ModelSource(StrEnum):
    """Where the model was found, in the order of precedence; NONE when it was not."""

    REQUEST = "request"
    SPEC = "spec"
    SECRET_MOLECULE_MODEL = "secret:MOLECULE_MODEL"
    SECRET_MODEL = "secret:MODEL"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class EffectiveModel:
    """The trimmed model id, empty when there is none, and the source it was found in."""

    model: str
    source: str
    steps: tuple[Step, ...]


def effective_model(
    *, request_model: str, spec_model: str, secrets: MergedSecrets
) -> EffectiveModel:
    """Request, else stored spec, else secrets MOLECULE_MODEL, else MODEL; blank is absent."""
    rungs = [(ModelSource.REQUEST, request_model.strip()), (ModelSource.SPEC, spec_model.strip())]
    rungs += [(ModelSource(f"secret:{name}"), secrets.text(name)) for name in MODEL_NAMES]
    steps: list[Step] = []
    model, source = "", ModelSource.NONE
    for rung, text in rungs:
        fired = bool(text) and not model
        if fired:
            model, source = text, rung
        steps.append(_step(rung, text, secrets, fired=fired))
    return EffectiveModel(model, source, tuple(steps))


def of_the_vendor(model: EffectiveModel) -> EffectiveModel:
    """The vendor's own id behind a model of the platform: what follows the first `/` or `:`."""
    tail = _VENDOR.sub("", model.model, count=1) or model.model
    text = f"the tenant's own key pays: the vendor calls `{model.model}` `{tail}`"
    step = Step("model.vendors_own_id", fired=True, inputs=(model.model,), text=text)
    return EffectiveModel(tail, model.source, (*model.steps, step))


def _step(rung: str, text: str, secrets: MergedSecrets, *, fired: bool) -> Step:
    name = rung.removeprefix("secret:")
    row = secrets.by_key.get(name) if name != rung else None
    inputs = (row.shown,) if row is not None else ()
    if fired:
        said = f"the model is `{text}`"
    elif text:
        said = "set, but an earlier source wins"
    else:
        said = "absent or blank"
    return Step(f"model.{rung}", fired=fired, inputs=inputs, text=said)
