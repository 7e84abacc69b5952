"""UpdateCard: replaces the agent card and the url."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.secret import Secret
from registry_service.commands import evidence, recording
from registry_service.commands.origin import Origin
from registry_service.storage import registrations
from registry_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCard:
    origin: Origin
    workspace_id: WorkspaceId
    bearer: Secret | None
    # None and an empty url keep what is stored.
    agent_card: Mapping[str, object] | None = None
    url: str = ""


def run(store: Store, command: UpdateCard) -> None:
    """Refusals: BEARER_MISSING, BEARER_REJECTED, WORKSPACE_UNKNOWN."""
    with store.transaction() as tx:
        box = evidence.locked_box(tx, command.workspace_id, command.bearer, command.origin)
        registrations.update_card(
            tx, command.workspace_id, agent_card=command.agent_card, url=command.url
        )
        if box.use.news:
            recording.publish(tx, box.use.news)
