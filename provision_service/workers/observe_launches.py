"""Worker step: apply to launches and workspaces what the registry saw of their boxes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from provision_service.commands.deployment import Deployment
from provision_service.domain.registry_port import Registration, Registry
from provision_service.launch import observation
from provision_service.storage import provisions, workspaces
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserveLaunches:
    """Up to `limit` launches on their way, and one page of what changed at the registry after
    `revision`: a quiet workspace is never looked at.
    """

    revision: int = 0
    page_token: str = ""
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserveLaunchesResult:
    """Pass `revision` and `next_page_token` to the next step; without a token all was seen.

    `behind`: workspaces that the registry counts fewer launches of than are stored here.
    """

    changed: int
    revision: int
    next_page_token: str
    behind: frozenset[str]


def run(
    store: Store, command: ObserveLaunches, deployment: Deployment, registry: Registry
) -> ObserveLaunchesResult:
    """Look and apply. RegistryUnavailable and RegistryRefused change nothing and are raised."""
    with store.reading() as tx:
        watched = provisions.watched_workspaces(tx, command.limit)
    page = registry.list_changed_registrations(
        after=command.revision, page_token=command.page_token, timeout=deployment.launch_budget
    )
    seen = (*page.registrations, *_ask(registry, deployment, watched))
    with store.reading() as tx:
        news, behind = _news(tx, seen, watched)
    changed = 0
    for each in news:
        with store.transaction() as tx:
            changed += observation.apply(tx, each)
    if watched:
        with store.noting() as tx:
            provisions.mark_observed(tx, watched)
    return ObserveLaunchesResult(
        changed=changed,
        revision=command.revision if page.next_page_token else page.revision,
        next_page_token=page.next_page_token,
        behind=behind,
    )


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
) -> tuple[list[Registration], frozenset[str]]:
    """What has to be applied, and who is behind. Most of what is seen is known, and a lock for
    each would cost more than all the rest.
    """
    by_id = {each.workspace_id: each for each in seen}
    stored = workspaces.find_many(tx, list(by_id))
    launches = provisions.progress(tx, watched) if watched else {}
    news = [
        by_id[workspace_id]
        for workspace_id, workspace in stored.items()
        if observation.would_change(workspace, by_id[workspace_id], launches.get(workspace_id))
    ]
    behind = frozenset(
        workspace_id
        for workspace_id, workspace in stored.items()
        if by_id[workspace_id].incarnation < workspace.incarnation
    )
    return news, behind
