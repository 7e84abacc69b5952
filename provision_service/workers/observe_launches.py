"""Worker step: apply to launches and workspaces what the registry saw of their boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from provision_service.commands import restored
from provision_service.commands.call import SYSTEM
from provision_service.commands.deployment import Deployment
from provision_service.domain.registry_port import Registration, Registry
from provision_service.launch import observation
from provision_service.storage import provisions, workspaces
from provision_service.storage.store import Store

_AT_ONCE: Final = 200
# Workspaces launched last, which are asked for each time: a registry that was restored from a
# backup lacks the launches of these first, whatever it says of changes.
_NEWEST: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserveLaunches:
    """Up to `limit` launches on their way, and one page of what changed at the registry after
    `revision`: a quiet workspace is never looked at.
    """

    revision: int = 0
    page_token: str = ""
    limit: int = 50


@dataclass(frozen=True, slots=True)
class ObserveLaunchesResult:
    """Pass `revision` and `next_page_token` to the next step; without a token all was seen.

    `reminded` is the number of workspaces of which the registry counts fewer launches than are
    stored here; it is told through the outbox.
    """

    changed: int
    revision: int
    next_page_token: str
    reminded: int


def run(
    store: Store, command: ObserveLaunches, deployment: Deployment, registry: Registry
) -> ObserveLaunchesResult:
    """Look and apply. RegistryUnavailable and RegistryRefused change nothing and are raised."""
    with store.reading() as tx:
        watched = provisions.watched_workspaces(tx, command.limit)
        asked = list(dict.fromkeys([*watched, *provisions.newest_workspaces(tx, _NEWEST)]))
    page = registry.list_changed_registrations(
        after=command.revision, page_token=command.page_token, timeout=deployment.launch_budget
    )
    seen = (*page.registrations, *_ask(registry, deployment, asked))
    with store.reading() as tx:
        news, behind = _news(tx, seen, watched)
    changed = 0
    for each in news:
        with store.transaction() as tx:
            changed += observation.apply(tx, each)
    if watched:
        with store.noting() as tx:
            provisions.mark_observed(tx, watched)
    reminded = _remind(store, registry, deployment, behind)
    if reminded and command.revision:
        # A registry that was set back cannot say what changed since: look at everything.
        return ObserveLaunchesResult(changed, 0, "", reminded)
    return ObserveLaunchesResult(
        changed,
        command.revision if page.next_page_token else page.revision,
        page.next_page_token,
        reminded,
    )


def _remind(
    store: Store, registry: Registry, deployment: Deployment, behind: Mapping[str, int]
) -> int:
    """Ask the registry once more, and remind it where it still counts fewer launches than were
    stored before: a launch is stored only after the registry has counted it.
    """
    ids, reminded = list(behind), 0
    for start in range(0, len(ids), _AT_ONCE):
        for each in _ask(registry, deployment, ids[start : start + _AT_ONCE]):
            if each.incarnation < behind[each.workspace_id]:
                with store.transaction() as tx:
                    reminded += restored.remind(tx, SYSTEM, deployment, each)
    return reminded


def _ask(
    registry: Registry, deployment: Deployment, workspace_ids: list[str]
) -> tuple[Registration, ...]:
    """What the registry says of them; one that it does not know says nothing."""
    if not workspace_ids:
        return ()
    return registry.list_registrations_of(
        workspace_ids=workspace_ids, timeout=deployment.launch_budget
    )


def _news(
    tx: Connection, seen: Iterable[Registration], watched: list[str]
) -> tuple[list[Registration], dict[str, int]]:
    """The registrations to apply, and by workspace the number of launches where the registry counts
    fewer than are stored.

    Judged without locks: most of what is seen is known, and a lock for each would cost more than
    all the rest.
    """
    by_id = {each.workspace_id: each for each in seen}
    stored = workspaces.find_many(tx, list(by_id))
    launches = provisions.progress(tx, watched) if watched else {}
    news = [
        by_id[workspace_id]
        for workspace_id, workspace in stored.items()
        if observation.would_change(workspace, by_id[workspace_id], launches.get(workspace_id))
    ]
    behind = {
        workspace_id: workspace.incarnation
        for workspace_id, workspace in stored.items()
        if by_id[workspace_id].incarnation < workspace.incarnation
    }
    return news, behind
