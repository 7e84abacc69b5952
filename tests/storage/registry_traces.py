"""What a command leaves in the registry's database."""

from __future__ import annotations

from typing import Any

from agentworkspace.core.ids import WorkspaceId
from tests.storage.registry_world import World

_OF_TOKENS = (
    "kind, prefix <> '' AS has_prefix, label, scopes, incarnation, outcome,"
    " expire_time IS NULL AS endless, revoke_reason, revoke_note,"
    " revoke_time IS NULL AS unrevoked,"
    " first_use_time IS NULL AS unused, replaces IS NULL AS alone,"
    " minted_on IS NULL AS on_nothing, client_made,"
    " request_id IS NULL AS unasked, created_by = 'workspace:' || workspace_id AS by_box,"
    " CASE WHEN NOT client_made THEN encode(issue_digest, 'hex') END AS digest, unproven"
)
_OF_WORKSPACES = (
    "tenant_id, incarnation, registered_incarnation, fence, compromised, box_left, retire_time"
)
_OF_REGISTRATIONS = (
    "state, incarnation, url, delivery_mode, agent_card, runtime, runtime_version, active_tasks,"
    " sample_error, deregistered, healthy_incarnation, rejected_count, refused_since,"
    " refused_last IS NULL AS never_refused, changed > 0 AS told"
)


def left_behind(world: World, workspace_id: WorkspaceId) -> dict[str, list[Any]]:
    """Everything stored of a workspace but ids and times."""
    found = {
        table: sorted(
            map(
                str,
                world.sql(
                    f"SELECT {columns} FROM registry.{table} WHERE workspace_id = %(id)s",  # noqa: S608
                    id=workspace_id,
                ),
            )
        )
        for table, columns in (
            ("tokens", _OF_TOKENS),
            ("workspaces", _OF_WORKSPACES),
            ("registrations", _OF_REGISTRATIONS),
        )
    }
    found["audit"] = world.sql(
        "SELECT actor = 'workspace:' || workspace_id AS by_box, method, action, tenant_id,"
        " (SELECT kind FROM registry.tokens t WHERE t.token_id::text = subject) AS of_kind,"
        " details, correlation_id FROM registry.audit_events WHERE workspace_id = %(id)s"
        " ORDER BY action, details::text",
        id=workspace_id,
    )
    found["requests"] = world.sql(
        "SELECT caller, method, create_time IS NULL AS timeless,"
        " (SELECT CASE WHEN client_made THEN kind ELSE kind || encode(params_digest, 'hex') END"
        "  FROM registry.tokens t WHERE t.token_id::text = result ->> 'token_id') AS of_token,"
        " result - 'token_id' AS result FROM registry.requests WHERE workspace_id = %(id)s"
        " ORDER BY method",
        id=workspace_id,
    )
    return found
