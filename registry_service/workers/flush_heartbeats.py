"""Writes behind when boxes were heard of that said nothing new: many in one statement.

What may come here, and how soon it is written, is decided in `domain.steady`.
"""

from __future__ import annotations

from collections.abc import Mapping

from agentworkspace.core.ids import WorkspaceId
from registry_service.storage import registrations
from registry_service.storage.registrations import Heard
from registry_service.storage.store import Store


def run(store: Store, heard: Mapping[WorkspaceId, Heard]) -> frozenset[WorkspaceId]:
    """Returns what was busy: keep those."""
    if not heard:
        return frozenset()
    with store.transaction() as tx:
        return frozenset(heard) - registrations.note_heard(tx, heard)
