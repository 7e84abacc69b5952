"""How many launches are on their way, and how many workspaces ask for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from provision_service.storage.models import ProvisionRow, WorkspaceRow
from provision_service.storage.provisions import ON_THEIR_WAY
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchCounts:
    """`on_their_way` by state and reason of the launch, with the age of the oldest in each state;
    `needing` by the reason for which a workspace asks for a launch.
    """

    on_their_way: Mapping[tuple[str, str], int]
    oldest_seconds: Mapping[str, float]
    needing: Mapping[str, int]


def measure(store: Store) -> LaunchCounts:
    """Count them, and take ages by the database's clock."""
    age = func.extract("epoch", func.clock_timestamp() - func.min(ProvisionRow.create_time))
    launches = (
        select(ProvisionRow.state, ProvisionRow.reason, func.count(), age)
        .where(ProvisionRow.state.in_(ON_THEIR_WAY))
        .group_by(ProvisionRow.state, ProvisionRow.reason)
    )
    needs = (
        select(WorkspaceRow.needs_launch_reason, func.count())
        .where(WorkspaceRow.needs_launch_reason.is_not(None))
        .group_by(WorkspaceRow.needs_launch_reason)
    )
    oldest: dict[str, float] = {}
    with store.reading() as tx:
        found = tx.execute(launches).all()
        needing = {str(reason): int(count) for reason, count in tx.execute(needs)}
    for state, _, _, seconds in found:
        oldest[state] = max(oldest.get(state, 0.0), float(seconds))
    return LaunchCounts(
        on_their_way={(state, reason): count for state, reason, count, _ in found},
        oldest_seconds=oldest,
        needing=needing,
    )
