"""The sweep that finds boxes which fell silent; each death is announced once."""

from __future__ import annotations

from dataclasses import dataclass

from registry_service.commands import recording
from registry_service.commands.origin import SYSTEM, Origin
from registry_service.domain.liveness import MISSED_UNTIL_OFFLINE
from registry_service.storage import pulse, registrations
from registry_service.storage.registrations import Silence as WentOffline
from registry_service.storage.store import Store

__all__ = ["MarkOffline", "WentOffline", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkOffline:
    origin: Origin = SYSTEM
    limit: int = 1000


def run(store: Store, command: MarkOffline) -> tuple[WentOffline, ...]:
    """Returns those that this call, and nobody else, marked; call again while `limit` came back."""
    with store.transaction() as tx:
        uptime = pulse.read(tx)
        silent = registrations.mark_offline(
            tx,
            up_since=uptime.up_since,
            now=uptime.now,
            patience=MISSED_UNTIL_OFFLINE * uptime.heartbeat_interval,
            limit=command.limit,
        )
        changes = [
            recording.change_of(
                item.workspace_id,
                item.tenant_id,
                "registration.offline",
                details={"last_heartbeat_time": item.last_heartbeat_time.isoformat()},
            )
            for item in silent
        ]
        recording.record(tx, command.origin, changes)
    return tuple(silent)
