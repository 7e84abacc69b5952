"""Counts calls with unknown credentials in memory, and writes the counts to the audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, TypeVar

from sqlalchemy import Connection

from agentworkspace.core.audit import Change
from agentworkspace.service.audit import events
from agentworkspace.service.store import Store

# How many pairs of address and method are counted apart between two writes; others share one count.
MOST_ROWS: Final = 20
_ELSEWHERE: Final = ("elsewhere", "")

Tried = tuple[str, str]
Tx = TypeVar("Tx", bound=Connection)


class RejectedCredentials:
    """How often each address called each method with an unknown credential.

    Only the event loop may use it. Nothing of a credential is kept: it may be a misspelt password.
    """

    def __init__(self) -> None:
        self._counts: Counter[Tried] = Counter()

    def count(self, address: str, method: str) -> None:
        tried = (address, method)
        full = tried not in self._counts and len(self._counts) >= MOST_ROWS
        self._counts[_ELSEWHERE if full else tried] += 1

    def take(self) -> Mapping[Tried, int]:
        """The counts by (address, method) since this was called last."""
        counts, self._counts = self._counts, Counter()
        return counts

    @staticmethod
    def write(store: Store[Tx], schema: str, counted: Mapping[Tried, int]) -> None:
        """Write a row for each count, in one statement."""
        changes = [
            Change(
                action="credential.rejected",
                tenant_id="",
                workspace_id=None,
                subject=address,
                details={"calls": str(calls), "method": method},
            )
            for (address, method), calls in sorted(counted.items())
        ]
        with store.transaction() as tx:
            events.append(tx, schema, changes, actor="stranger", method="", correlation_id="")
