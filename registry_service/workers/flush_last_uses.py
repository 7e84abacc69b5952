"""Writes when tokens were last used: later, many in one statement, each once a minute at most."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agentworkspace.core.ids import TokenId
from registry_service.storage import token_uses
from registry_service.storage.store import Store


def run(store: Store, uses: Mapping[TokenId, datetime]) -> frozenset[TokenId]:
    """`uses` has the newest use of each token, by the database's clock. Returns the tokens whose
    rows another transaction held: pass those again next time.
    """
    if not uses:
        return frozenset()
    with store.transaction() as tx:
        return frozenset(uses) - token_uses.write_last_uses(tx, uses)
