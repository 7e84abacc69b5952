"""Writes, later and many in one statement, when boxes reported that had nothing new to say.

`domain.steady` decides which heartbeats may wait for this, and for how long.
"""

from __future__ import annotations

from collections.abc import Mapping

from agentworkspace.core.ids import WorkspaceId
from registry_service.storage import registrations
from registry_service.storage.registrations import Heard
from registry_service.storage.store import Store


def run(store: Store, heard: Mapping[WorkspaceId, Heard]) -> frozenset[WorkspaceId]:
    """Returns the workspaces whose rows another transaction held: pass those again next time."""
    if not heard:
        return frozenset()
    with store.transaction() as tx:
        return frozenset(heard) - registrations.note_heard(tx, heard)
