"""Worker step: apply to launches and workspaces what the registry saw of their boxes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from provision_service.commands import observation
from provision_service.commands.deployment import Deployment
from provision_service.domain.registry_port import Registration, Registry, RegistryRefused
from provision_service.storage import provision_rows, workspace_rows
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserveLaunches:
    """One page of registrations after `page_token`, and up to `limit` launches on their way."""

    page_token: str = ""
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserveLaunchesResult:
    """Pass `next_page_token` to the next step; empty starts a new round."""

    changed: int
    next_page_token: str


def run(
    store: Store, command: ObserveLaunches, deployment: Deployment, registry: Registry
) -> ObserveLaunchesResult:
    """Look and apply. RegistryUnavailable and RegistryRefused change nothing and are raised."""
    with store.reading() as tx:
        watched = provision_rows.watched_workspaces(tx, command.limit)
    seen = _ask(registry, deployment, watched)
    page = registry.list_registrations(
        page_token=command.page_token, timeout=deployment.launch_budget
    )
    with store.reading() as tx:
        stored = workspace_rows.find_many(tx, [each.workspace_id for each in page.registrations])
    seen += [
        each
        for each in page.registrations
        if each.workspace_id in stored and observation.would_change(stored[each.workspace_id], each)
    ]
    changed = 0
    for each in seen:
        with store.writing() as tx:
            changed += observation.apply(tx, each)
    if watched:
        with store.writing() as tx:
            provision_rows.mark_observed(tx, watched)
    return ObserveLaunchesResult(changed=changed, next_page_token=page.next_page_token)


def _ask(
    registry: Registry, deployment: Deployment, workspace_ids: list[str]
) -> list[Registration]:
    """What the registry says of each; one that it does not know says nothing."""
    seen = []
    for workspace_id in workspace_ids:
        with contextlib.suppress(RegistryRefused):
            seen.append(
                registry.get_registration(workspace_id=workspace_id, timeout=deployment.peek_budget)
            )
    return seen
