"""What a launch costs in statements and calls: numbers that grow only on purpose.

A statement is whatever goes to PostgreSQL but BEGIN, COMMIT and ROLLBACK; the limits that a
transaction sets travel with its first one. What workers do meanwhile is not counted.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from agentworkspace.provision.v1 import provision_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from tests.rpc.provision_server import LAUNCHER
from tests.services import Pair

_WORKERS = ("background", "write-watch", "connect")
_PREPARING = "PREPARE "
_CALLS = "agentworkspace_rpc_calls_total"
_ASKED = {
    "AdmitWorkspace",
    "BeginIncarnation",
    "BatchAdmitWorkspaces",
    "BatchBeginIncarnations",
}


@pytest.fixture(scope="module", autouse=True)
def plans_are_made(pair: Pair) -> None:
    """What a connection does once in its life is done."""
    for _ in range(3):
        launched(pair, created(pair))


@contextmanager
def statements() -> Iterator[Counter[str]]:
    """How many each service sends until the block ends."""
    sent: Counter[str] = Counter()

    def note(connection: Any, _: Any, statement: str, *__: object) -> None:
        if threading.current_thread().name.startswith(_WORKERS) or statement.startswith(_PREPARING):
            return
        sent[connection.connection.driver_connection.info.dsn_parameters["application_name"]] += 1

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def calls(pair: Pair) -> Counter[str]:
    """Of the registry's methods so far, those that provision calls for creates and launches."""
    found: Counter[str] = Counter()
    for family in pair.registry.collectors.collect():
        for sample in family.samples:
            method = sample.labels.get("method", "").rpartition("/")[2]
            if sample.name == _CALLS and method in _ASKED:
                found[method] += int(sample.value)
    return found


def created(pair: Pair) -> str:
    answer = pair.provision.workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(
            request_id=str(uuid.uuid4()),
            tenant_id="acme",
            workspace=workspace_pb2.Workspace(name="agent", model="opus"),
            secrets={"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-of-the-tenant", "GREETING": "hello"},
        ),
        metadata=LAUNCHER,
    )
    assert answer.auth_token
    return str(answer.workspace.id)


def launched(pair: Pair, workspace_id: str) -> None:
    answer = pair.provision.workspaces.ProvisionWorkspace(
        pb.ProvisionWorkspaceRequest(
            request_id=str(uuid.uuid4()),
            workspace_id=workspace_id,
            reason=provision_pb2.PROVISION_REASON_CREATE,
        ),
        metadata=LAUNCHER,
    )
    assert answer.env


def test_a_create_takes_five_statements_here_and_one_in_the_registry(pair: Pair) -> None:
    before = calls(pair)
    with statements() as sent:
        created(pair)
    assert sent == {"provision-service": 5, "registry-service": 1}
    assert calls(pair) - before == {"BatchAdmitWorkspaces": 1}


def test_a_launch_takes_five_statements_here_and_two_in_the_registry(pair: Pair) -> None:
    workspace_id = created(pair)
    before = calls(pair)
    with statements() as sent:
        launched(pair, workspace_id)
    assert sent == {"provision-service": 5, "registry-service": 2}
    assert calls(pair) - before == {"BatchBeginIncarnations": 1}


def test_both_take_thirteen_statements_and_two_calls(pair: Pair) -> None:
    before = calls(pair)
    with statements() as sent:
        launched(pair, created(pair))
    assert sent.total() == 13
    assert (calls(pair) - before).total() == 2
