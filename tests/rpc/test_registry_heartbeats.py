"""Heartbeats are answered alike by a line and by a thread, and what a line answers is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from agentworkspace.core.ids import WorkspaceId
from agentworkspace.registry.v1 import registration_service_pb2 as box
from registry_service.storage.registrations import Heard
from registry_service.storage.store import Store
from registry_service.workers import flush_heartbeats
from tests.rpc.registry_requests import failed
from tests.rpc.registry_server import Running, serving
from tests.rpc.registry_story import Workspace
from tests.rpc.test_registry_operation import eventually, exposed

# Through a pooler there are no lines: every heartbeat is written at once.
WAYS = {"lines": {}, "threads": {"REGISTRY_DATABASE_POOLED": "1"}}


@pytest.fixture(params=list(WAYS))
def running(
    request: pytest.FixtureRequest, registry_database: str, tmp_path: Path
) -> Iterator[Running]:
    with serving(registry_database, tmp_path, environment=WAYS[request.param]) as running:
        if request.param == "lines":
            _until_lines(running)
        yield running


def _until_lines(running: Running) -> None:
    eventually(lambda: running.service.hot.lines.open_now == 4)


def up(running: Running) -> tuple[Workspace, str]:
    """A workspace with a box that has said that it is well."""
    workspace = Workspace(running)
    workspace.admit()
    token = workspace.register(ticket=workspace.launch().bootstrap_ticket).auth_token
    workspace.heartbeat(token)
    return workspace, token


def heard(workspace: Workspace) -> int:
    return int(workspace.registration().last_heartbeat_time.ToNanoseconds())


def test_a_box_hears_of_its_end_with_its_very_next_heartbeat(running: Running) -> None:
    workspace, token = up(running)
    answer = workspace.heartbeat(token)
    assert (answer.next_action, answer.incarnation) == (box.NEXT_ACTION_NONE, 1)
    ticket = workspace.launch().bootstrap_ticket
    assert workspace.heartbeat(token).next_action == box.NEXT_ACTION_REGISTER
    second = workspace.register(ticket=ticket).auth_token
    assert workspace.heartbeat(token).next_action == box.NEXT_ACTION_STOP
    for _ in range(2):
        assert workspace.heartbeat(second).next_action == box.NEXT_ACTION_NONE
    workspace.revoke_all()
    assert workspace.heartbeat(second).next_action == box.NEXT_ACTION_REGISTER
    assert failed(lambda: Workspace(running).heartbeat(second)).reason == "WORKSPACE_UNKNOWN"
    other, _ = up(running)
    assert failed(lambda: other.heartbeat(second)).reason == "BEARER_REJECTED"


def test_what_is_new_is_seen_at_once_and_that_it_lives_soon(running: Running) -> None:
    workspace, token = up(running)
    workspace.heartbeat(token, active_tasks=2, sample_error="x")
    seen = workspace.registration()
    assert (seen.active_tasks, seen.sample_error) == (2, "x")
    before = heard(workspace)
    workspace.heartbeat(token, active_tasks=2, sample_error="x")
    eventually(lambda: heard(workspace) > before)
    assert workspace.registration().active_tasks == 2


class Held:
    """Stands for a database that does not take what is written behind, until it is let."""

    def __init__(self) -> None:
        self.let = False
        self.asked = 0

    def run(self, store: Store, values: Mapping[WorkspaceId, Heard]) -> frozenset[WorkspaceId]:
        self.asked += bool(values)
        return WRITE(store, values) if self.let else frozenset(values)


WRITE = flush_heartbeats.run


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held()
    monkeypatch.setattr(flush_heartbeats, "run", held.run)
    return held


def said_nothing_new(running: Running) -> tuple[Workspace, int]:
    """A workspace whose box sent a heartbeat that a line answered, and when it was heard before."""
    _until_lines(running)
    workspace, token = up(running)
    before = heard(workspace)
    workspace.heartbeat(token)
    return workspace, before


def test_a_heartbeat_that_says_nothing_new_is_written_behind_and_kept_until_it_is(
    registry_database: str, tmp_path: Path, held: Held
) -> None:
    with serving(registry_database, tmp_path) as running:
        workspace, before = said_nothing_new(running)
        eventually(lambda: held.asked > 1)
        assert heard(workspace) == before
        # It took no thread: the only batch was the first heartbeat, which was new.
        assert 'agentworkspace_batch_size_count{queue="heartbeat"} 1.0' in exposed(running)
        held.let = True
        eventually(lambda: heard(workspace) > before)


def test_a_stop_writes_the_heartbeats_that_wait(
    registry_database: str, tmp_path: Path, held: Held
) -> None:
    with serving(registry_database, tmp_path) as running:
        workspace, before = said_nothing_new(running)
        eventually(lambda: held.asked > 0)
        assert heard(workspace) == before
        held.let = True
    with serving(registry_database, tmp_path) as running:
        workspace.running = running
        assert heard(workspace) > before
