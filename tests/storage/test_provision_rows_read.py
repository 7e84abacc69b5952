"""Launches read the launches of their own workspaces, however many others are under way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import event

from provision_service.domain.lifecycle import ProvisionReason
from provision_service.launch import launches
from provision_service.launch.provision_workspace import (
    ProvisionWorkspace,
    ProvisionWorkspaceResult,
)
from tests.storage.provision_doubles import new_id
from tests.storage.provision_world import LAUNCHER, World, emptied, opened

OPEN_CLAIMS: Final = 500
OVER: Final = 20
# Of many other workspaces: one that has just been claimed, after some that are over.
_OTHERS: Final = """
WITH other AS (
    INSERT INTO provision.workspaces
    SELECT (jsonb_populate_record(w, jsonb_build_object('workspace_id', gen_random_uuid()))).*
    FROM provision.workspaces w, generate_series(1, :count) WHERE w.workspace_id = :id
    RETURNING workspace_id, tenant_id
)
INSERT INTO provision.provisions (
    provision_id, workspace_id, tenant_id, request_id, caller, reason, state, input_revision,
    lease_expire_time, complete_time
)
SELECT gen_random_uuid(), workspace_id, tenant_id, number::text, 'control-plane', 'RESTART',
       CASE number WHEN 0 THEN 'CLAIMED' ELSE 'SUPERSEDED' END, 1, now() + interval '1 hour',
       CASE number WHEN 0 THEN NULL ELSE now() END
FROM other, generate_series(0, :over) AS number
"""


@pytest.fixture
def world(provision_database: str, tmp_path: Path) -> Iterator[World]:
    with opened(emptied(provision_database), tmp_path) as world:
        yield world


class Sent:
    """What launches send by name, with the values of the last time."""

    def __init__(self, world: World) -> None:
        self.prepared: dict[str, str] = {}
        self.executed: dict[str, tuple[str, Any]] = {}
        event.listen(world.store.database.engine, "before_cursor_execute", self._note)

    def _note(self, _: Any, __: Any, statement: str, values: Any, *___: object) -> None:
        words = statement.split(maxsplit=2)
        if words[0] == "PREPARE":
            self.prepared[words[1]] = statement
        if words[0] == "EXECUTE":
            self.executed[words[1]] = statement, values


def together(world: World, workspace_ids: Sequence[str]) -> None:
    commands = [
        ProvisionWorkspace(
            call=LAUNCHER,
            workspace_id=each,
            provision_id=new_id(),
            reason=ProvisionReason.RESTART,
            request_id=new_id(),
        )
        for each in workspace_ids
    ]
    taken = launches.claim(world.store, commands, world.deployment)
    made = launches.go_on(world.store, commands, taken, world.deployment, world.registry)
    assert all(isinstance(each, ProvisionWorkspaceResult) for each in made)


def rows_read(world: World, sent: Sent, name: str, plan: str) -> int:
    """Of launches, from the table and from indexes, when the statement is run once more and rolled
    back. `plan` is the kind of plan that PostgreSQL is to make of the prepared statement.
    """
    statement, values = sent.executed[name]
    with world.engine.connect() as connection:
        connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = '{plan}'")
        connection.exec_driver_sql(sent.prepared[name].replace(name, f"again_{name}", 1))
        explained = statement.replace(name, f"again_{name}", 1)
        found = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {explained}", values)
        (report,) = found.one()
        connection.rollback()
        connection.exec_driver_sql(f"DEALLOCATE again_{name}")
    document = json.loads(report) if isinstance(report, str) else report
    return sum(_rows_of(node) for node in _nodes(document[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from _nodes(each)


def _rows_of(node: dict[str, Any]) -> int:
    is_scan = node.get("Relation Name") == "provisions" and "Scan" in node["Node Type"]
    if not is_scan and "provisions" not in node.get("Index Name", ""):
        return 0
    counted = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    rows: float = sum(node.get(name, 0) for name in counted) * node["Actual Loops"]
    return round(rows)


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("plan", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("count", [1, 20])
def test_a_launch_reads_only_launches_of_its_workspace(
    world: World, count: int, plan: str, analyzed: bool
) -> None:
    ids = [world.create().id for _ in range(count)]
    sent = Sent(world)
    world.sql(_OTHERS, id=ids[0], count=OPEN_CLAIMS, over=OVER)
    if analyzed:
        world.sql("ANALYZE provision.provisions")
        world.sql("ANALYZE provision.workspaces")
    together(world, ids)
    assert world.count("provisions") == 10_500 + count
    assert sent.executed.keys() >= {"claim", "deliver"}
    # Both find the launch that is under way, by one index or two, and its earlier version.
    for name in ("claim", "deliver"):
        assert count <= rows_read(world, sent, name, plan) <= 6 * count
