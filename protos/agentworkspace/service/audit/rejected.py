"""Credentials that nobody knows, as they were tried: counted in memory, written as a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, TypeVar

from sqlalchemy import Connection

from agentworkspace.core.audit import Change
from agentworkspace.service.audit import events
from agentworkspace.service.store import Store

# Addresses and methods that are told apart between two writings; the rest is one sum.
MOST_ROWS: Final = 20
_ELSEWHERE: Final = ("elsewhere", "")

Tried = tuple[str, str]
Tx = TypeVar("Tx", bound=Connection)


class RejectedCredentials:
    """How often an address tried a method with a credential that was refused. Of the event loop.

    Of what was tried nothing is kept: it may be somebody's password, misspelt.
    """

    def __init__(self) -> None:
        self._counts: Counter[Tried] = Counter()

    def count(self, address: str, method: str) -> None:
        tried = (address, method)
        full = tried not in self._counts and len(self._counts) >= MOST_ROWS
        self._counts[_ELSEWHERE if full else tried] += 1

    def take(self) -> Mapping[Tried, int]:
        """What came since the last time."""
        counts, self._counts = self._counts, Counter()
        return counts

    @staticmethod
    def write(store: Store[Tx], schema: str, counted: Mapping[Tried, int]) -> None:
        """One row for each, in one statement."""
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
