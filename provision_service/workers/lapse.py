"""Worker step: end the claims whose lease ran out."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands.call import SYSTEM, record
from provision_service.domain.launch import WorkspaceEvent, status_after
from provision_service.storage import lapsed, workspaces
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapse:
    """Ends at most `limit` claims."""

    limit: int = 100


def run(store: Store, command: Lapse) -> tuple[str, ...]:
    """End them and return their ids. Marking their workspaces is left to the reconciler and its
    cap.

    A workspace that still waits for the box of an earlier launch becomes FAILED; one whose old box
    runs stays as it is.
    """
    with store.transaction() as tx:
        ended = lapsed.lapse(tx, command.limit)
        for provision_id, workspace_id in ended:
            held = workspaces.lock(tx, workspace_id)
            if held is None:
                continue
            status = status_after(held.workspace.status, WorkspaceEvent.PROVISION_LAPSED)
            workspaces.change(tx, workspace_id, status=status.value)
            record(
                tx,
                SYSTEM,
                "workspace.launch_lapse",
                tenant_id=held.workspace.tenant_id,
                workspace_id=workspace_id,
                subject=provision_id,
            )
    return tuple(provision_id for provision_id, _ in ended)
