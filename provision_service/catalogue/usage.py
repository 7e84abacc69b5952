"""What a new catalogue would take away from workspaces that still use it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from provision_service.catalogue.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class UsedModel:
    """What a stored workspace relies on; `provider` is its last selection, empty if unknown."""

    runtime: str
    model: str
    provider: str = ""


@dataclass(frozen=True, slots=True)
class RemovedId:
    """An id that is still used and no longer served, with what to do about it."""

    used: UsedModel
    what: str
    remedy: str


def removed_ids(
    old: Catalogue | None, new: Catalogue, used: Iterable[UsedModel]
) -> tuple[RemovedId, ...]:
    """Ids that `new` lacks and a stored workspace uses, each once.

    With `old`, an id counts as removed if `old` served it and `new` does not, or if it left its
    menu and only a pattern still finds it. Without `old`, every used id counts that `new` does not
    serve.
    """
    found = (_removed(old, new, entry) for entry in dict.fromkeys(used))
    return tuple(entry for entry in found if entry is not None)


def _removed(  # noqa: PLR0911 -- a rule a line
    old: Catalogue | None, new: Catalogue, used: UsedModel
) -> RemovedId | None:
    model = used.model.strip()
    if new.has_no_entry_by_design(used.runtime):
        return None
    if old is not None and not _serving(old, used.runtime, model):
        return None
    if used.runtime not in new.runtimes:
        return RemovedId(used, f"runtime `{used.runtime}` is gone", "keep the runtime")
    remedy = f"keep `{model}` and mark it withdrawn"
    serving = _serving(new, used.runtime, model)
    if not serving:
        return RemovedId(used, f"`{model}` is gone from runtime `{used.runtime}`", remedy)
    if old is not None and _left_the_menu(old, new, used.runtime, model):
        return RemovedId(used, f"`{model}` left the menu of runtime `{used.runtime}`", remedy)
    if used.provider and used.provider not in serving:
        what = f"provider `{used.provider}` no longer serves `{model}` in `{used.runtime}`"
        return RemovedId(used, what, f"keep `{model}` under `{used.provider}`")
    return None


def _left_the_menu(old: Catalogue, new: Catalogue, runtime: str, model: str) -> bool:
    return bool(old.runtimes[runtime].listing(model)) and not new.runtimes[runtime].listing(model)


def _serving(catalogue: Catalogue, runtime_name: str, model: str) -> frozenset[str]:
    runtime = catalogue.runtimes.get(runtime_name)
    if runtime is None or not model:
        return frozenset()
    return frozenset(p.name for p in runtime.listing(model) or runtime.matching(model))
