"""What an older registry wrote is read by this one as what it meant."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.core.secret import Secret
from agentworkspace.service import migrate
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.principal import Principal
from registry_service.domain.standing import Fence
from registry_service.storage.schema import SCHEMA
from tests.storage.registry_world import World, sha256, world_at

TABLES = "0001_tables.py"


class Earlier:
    """Writes rows as the first release did."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg2.connect(url.replace("+psycopg2", ""))
        self.connection.autocommit = True
        self.made = 0

    def workspace(self, **columns: Any) -> WorkspaceId:
        workspace_id = str(uuid.uuid4())
        registration = columns.pop("registration", {})
        self._insert(
            "workspaces",
            {"workspace_id": workspace_id, "tenant_id": "acme", "create_time": "now"} | columns,
        )
        self._insert("registrations", {"workspace_id": workspace_id} | registration)
        return WorkspaceId(workspace_id)

    def token(self, workspace_id: str, **columns: Any) -> tuple[Secret, str]:
        self.made += 1
        secret, token_id = Secret(f"token {self.made}"), str(uuid.uuid4())
        usual = {
            "token_id": token_id,
            "workspace_id": workspace_id,
            "kind": "INSTANCE",
            "token_sha256": sha256(secret),
            "create_time": "now",
            "outcome": "BOOTSTRAPPED",
        }
        self._insert("tokens", usual | columns)
        return secret, token_id

    def _insert(self, table: str, columns: dict[str, Any]) -> None:
        names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO registry.{table} ({names}) VALUES ({places})",  # noqa: S608
                list(columns.values()),
            )


@pytest.fixture
def earlier(empty_database: str, tmp_path: Path) -> Iterator[Earlier]:
    versions = tmp_path / "versions"
    versions.mkdir()
    shutil.copy(SCHEMA.versions / TABLES, versions)
    migrate.upgrade(replace(SCHEMA, versions=versions), Secret(empty_database))
    earlier = Earlier(empty_database)
    yield earlier
    earlier.connection.close()


@pytest.fixture
def world(earlier: Earlier, empty_database: str) -> Iterator[World]:
    with world_at(empty_database) as world:
        yield world


def bring_up_to_date(url: str) -> None:
    migrate.upgrade(SCHEMA, Secret(url))


def test_which_tokens_are_unproven_shows_in_what_they_were_minted_on(
    earlier: Earlier, world: World, empty_database: str
) -> None:
    workspace_id = earlier.workspace(incarnation=1)
    by_id, first = earlier.token(workspace_id)
    rotated, second = earlier.token(workspace_id, minted_on=first)
    again, _ = earlier.token(workspace_id, minted_on=second)
    _, ticket = earlier.token(workspace_id, kind="TICKET", outcome=None, incarnation=1)
    by_ticket, _ = earlier.token(workspace_id, minted_on=ticket, incarnation=1)
    api, api_id = earlier.token(workspace_id, kind="API", outcome=None)
    by_api, _ = earlier.token(workspace_id, minted_on=api_id)
    break_glass, _ = earlier.token(workspace_id, outcome=None)
    bring_up_to_date(empty_database)

    def backed(secret: Secret) -> bool:
        principal = world.validate(secret)
        assert isinstance(principal, Principal)
        return principal.evidence_backed

    assert [backed(each) for each in (by_id, rotated, again)] == [False] * 3
    assert [backed(each) for each in (by_ticket, api, by_api, break_glass)] == [True] * 4


def test_a_fence_of_before_stands(earlier: Earlier, world: World, empty_database: str) -> None:
    suspended = earlier.workspace(fence="SUSPENDED")
    compromised = earlier.workspace(fence="COMPROMISED")
    bring_up_to_date(empty_database)
    assert world.registration(suspended).fences == (Fence.SUSPENDED,)
    assert world.registration(compromised).fences == (Fence.COMPROMISED,)
    assert world.refused(compromised)[0] is AdmissionLine.FENCED


def test_whose_newest_box_had_left_is_left(
    earlier: Earlier, world: World, empty_database: str
) -> None:
    gone = {"state": "OFFLINE", "deregistered": True, "incarnation": 2}
    left = earlier.workspace(incarnation=2, registered_incarnation=2, registration=gone)
    overtaken = earlier.workspace(incarnation=3, registered_incarnation=2, registration=gone)
    bring_up_to_date(empty_database)
    assert (world.registration(left).left, world.registration(overtaken).left) == (True, False)
