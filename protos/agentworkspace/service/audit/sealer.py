"""The background work for the audit: sealing, and writing the counts of unknown credentials."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

import structlog
from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import Connection

from agentworkspace.rpc.redaction import Clean
from agentworkspace.service.audit import sealing
from agentworkspace.service.audit.keys import AuditKeys
from agentworkspace.service.audit.rejected import RejectedCredentials
from agentworkspace.service.audit.sealing import CountsAnew, Pending, WasSigned
from agentworkspace.service.audit.seals import Checkpoint
from agentworkspace.service.audit.tables import AuditLog
from agentworkspace.service.store import Store
from agentworkspace.service.tasks import Task

T = TypeVar("T")
Tx = TypeVar("Tx", bound=Connection)

SEAL_SECONDS: Final = 1.0
# After so long without a row a seal without rows is made, so that none can be inserted later.
QUIET_SECONDS: Final = 600.0
# The share of the time that sealing takes while there is more to seal than one seal holds.
SEAL_SHARE: Final = 0.3
REJECTED_SECONDS: Final = 10.0
_COUNTS_ANEW: Final = (
    "the database lies on another server, which counts transactions anew; nothing is sealed until"
    " `audit begin` was run"
)
_WAS_SIGNED: Final = (
    "the audit was signed and this process has no key, so it seals nothing; name one in {}"
)


class Do(Protocol):
    """Runs a step on a thread, with the service's store."""

    def __call__(self, step: Callable[[Any], T], /) -> Awaitable[T]: ...


class Sealer:
    """Seals every second. Of several replicas, whichever comes first does it."""

    def __init__(
        self,
        log: AuditLog,
        keys: AuditKeys,
        rejected: RejectedCredentials,
        *,
        collectors: CollectorRegistry,
    ) -> None:
        self._audit = log
        self._keys = keys
        self._rejected = rejected
        self._lag = Gauge(
            "agentworkspace_audit_seal_lag_seconds",
            "Age of the oldest row of the audit that has no seal yet; 0 when all have.",
            registry=collectors,
        )
        self._log = structlog.get_logger(f"{log.schema}.audit")
        # The newest seal when this process looked last.
        self._seen: Checkpoint | None = None
        self._told = ""

    def tasks(self, do: Do) -> list[Task]:
        async def seal() -> bool:
            return await do(self.seal)

        async def write_rejected() -> None:
            counted = self._rejected.take()
            if counted:
                await do(lambda store: self._rejected.write(store, self._audit.schema, counted))

        return [
            Task("audit-seal", SEAL_SECONDS, seal, share=SEAL_SHARE, at_stop=True),
            Task("audit-strangers", REJECTED_SECONDS, write_rejected, at_stop=True),
        ]

    def seal(self, store: Store[Tx]) -> bool:
        """Seal what can be sealed now; returns whether there may be more to seal at once."""
        with store.glance() as tx:
            found = sealing.pending(tx, self._audit, self._seen)
        self._lag.set(max(0.0, found.age or 0.0))
        self._compare(found)
        is_quiet = found.quiet > QUIET_SECONDS
        if found.newest is not None and not found.is_over and not is_quiet:
            return False
        try:
            with store.transaction() as tx:
                sealed = sealing.seal(tx, self._audit, self._keys, nothing=is_quiet)
        except CountsAnew:
            self._warn(_COUNTS_ANEW)
            return False
        except WasSigned:
            self._warn(_WAS_SIGNED.format(f"{self._audit.schema.upper()}_AUDIT_KEY_FILE"))
            return False
        self._told = ""
        if sealed is None:
            return False
        self._seen = sealed.checkpoint(self._audit.schema)
        self._tell(self._seen)
        return sealed.number == 1 or sealed.count == sealing.ROWS_AT_ONCE

    def _compare(self, found: Pending) -> None:
        """Log an error when the seals of a second ago have been changed or removed."""
        seen, newest = self._seen, found.newest
        if seen is not None:
            is_back = newest is None or newest.number < seen.number
            if is_back or found.remembered not in (None, seen.digest):
                self._log.error(
                    "the seals of the audit have been changed: run `audit verify` with this line",
                    checkpoint=Clean(seen),
                )
        elif newest is not None:
            self._tell(newest)
        self._seen = newest

    def _tell(self, checkpoint: Checkpoint) -> None:
        self._log.info("audit sealed", rows=checkpoint.rows, checkpoint=Clean(checkpoint))

    def _warn(self, sentence: str) -> None:
        """Log a sentence, once until sealing works again."""
        if sentence != self._told:
            self._told = sentence
            self._log.error(sentence)
