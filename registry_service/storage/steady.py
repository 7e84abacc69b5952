"""Reads, as quickly as `checks`, what tells whether a heartbeat says anything new.

It finds boxes whose instance token is live and was used before. The heartbeat of any other box has
to be run as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from agentworkspace.core.ids import TokenId, WorkspaceId
from agentworkspace.service.prepared import Prepared, bytea_array
from registry_service.domain.steady import Stored

# Planned like `checks.KNOWN`, for the same reasons. The time is only in the first row.
BEATING: Final = Prepared(
    "beating",
    """
SELECT clock_timestamp() AS now, NULL::bytea, NULL::text, NULL::text, NULL::bigint, NULL::bigint,
       NULL::text, NULL::bigint, NULL::bigint, NULL::bigint, NULL::text, NULL::boolean
UNION ALL
SELECT NULL, t.token_sha256, t.token_id::text, t.workspace_id::text, t.incarnation, w.incarnation,
       r.state, r.incarnation, r.healthy_incarnation, r.active_tasks, r.sample_error,
       r.last_heartbeat_time BETWEEN clock_timestamp() - %(younger_than)s::interval
                                 AND clock_timestamp()
FROM registry.tokens t CROSS JOIN LATERAL (
    SELECT incarnation FROM registry.workspaces
    WHERE workspace_id = t.workspace_id AND retire_time IS NULL OFFSET 0
) w CROSS JOIN LATERAL (
    SELECT state, incarnation, healthy_incarnation, active_tasks, sample_error, last_heartbeat_time
    FROM registry.registrations WHERE workspace_id = t.workspace_id OFFSET 0
) r
WHERE t.token_sha256 = ANY(%(hashes)s::bytea[]) AND t.kind = 'INSTANCE'
    AND t.first_use_time IS NOT NULL AND num_nonnulls(t.revoke_time) = 0
    AND (t.expire_time IS NULL OR t.expire_time > clock_timestamp())
""",
)


class Box(NamedTuple):
    """A box whose token is live and was used before, and what is stored about it."""

    token_id: TokenId
    workspace_id: WorkspaceId
    # The token's.
    incarnation: int
    # The workspace's newest incarnation.
    newest: int
    stored: Stored
    # When this was read, by the database's clock.
    time: datetime


def parameters(hashes: Iterable[bytes], *, younger_than: timedelta) -> dict[str, Any]:
    """The parameters of the statement BEATING. For `younger_than` see `Stored.young`."""
    return {"hashes": bytea_array(hashes), "younger_than": younger_than}


def beating(rows: Sequence[Any]) -> dict[bytes, Box]:
    """Parse the rows of BEATING, by the hash of the token."""
    now = rows[0][0]
    return {
        bytes(row[1]): Box(row[2], row[3], row[4], row[5], Stored._make(row[6:]), now)
        for row in rows[1:]
    }
