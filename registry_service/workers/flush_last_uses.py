"""Writes later uses of tokens behind: many in one statement, each token once a minute at most."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agentworkspace.core.ids import TokenId
from registry_service.storage import token_uses
from registry_service.storage.store import Store


def run(store: Store, uses: Mapping[TokenId, datetime]) -> frozenset[TokenId]:
    """`uses`: the newest of each, by the database's clock. Returns what was busy: keep those."""
    if not uses:
        return frozenset()
    with store.transaction() as tx:
        return frozenset(uses) - token_uses.write_last_uses(tx, uses)
