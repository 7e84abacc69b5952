"""Creates and launches of many callers at once, with both services: what is made together is
written down for each call by itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest

from agentworkspace.provision.v1 import audit_service_pb2 as provision_audit
from agentworkspace.provision.v1 import provision_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.registry.v1 import audit_service_pb2 as registry_audit
from agentworkspace.rpc.errors import CORRELATION_KEY
from tests.rpc import registry_server
from tests.rpc.provision_server import ADMIN, LAUNCHER
from tests.rpc.vendor_server import until
from tests.services import Pair

CALLS = 20


def created(pair: Pair, correlation_id: str) -> Any:
    return pair.provision.workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(
            tenant_id="acme",
            workspace=workspace_pb2.Workspace(name="agent", model="opus"),
            secrets={"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-of-the-tenant"},
        ),
        metadata=(*LAUNCHER, (CORRELATION_KEY, correlation_id)),
    )


def launched(pair: Pair, workspace_id: str, correlation_id: str, request_id: str = "") -> Any:
    return pair.provision.workspaces.ProvisionWorkspace(
        pb.ProvisionWorkspaceRequest(
            request_id=request_id,
            workspace_id=workspace_id,
            reason=provision_pb2.PROVISION_REASON_CREATE,
        ),
        metadata=(*LAUNCHER, (CORRELATION_KEY, correlation_id)),
    )


def written(pair: Pair, workspace_id: str) -> list[tuple[str, str, str]]:
    """Service, action and correlation id of all that was done to a workspace, oldest first."""
    registry = pair.registry.audit.ListAuditEvents(
        registry_audit.ListAuditEventsRequest(workspace_id=workspace_id),
        metadata=registry_server.ADMIN,
    )
    provision = pair.provision.audit.ListAuditEvents(
        provision_audit.ListAuditEventsRequest(workspace_id=workspace_id), metadata=ADMIN
    )
    return [
        (service, event.action, event.correlation_id)
        for service, found in (("provision", provision), ("registry", registry))
        for event in reversed(found.events)
    ]


@contextmanager
def claims_held(database: str) -> Iterator[None]:
    """No launch can be claimed until the block ends."""
    connection = psycopg2.connect(database.replace("+psycopg2", ""))
    try:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE provision.provisions IN SHARE MODE")
            yield
    finally:
        connection.close()


def batches(pair: Pair, queue: str) -> tuple[int, int]:
    """How many there were so far, and how many calls were in them or wait for one."""
    metric = pair.provision.metric
    calls = metric("agentworkspace_batch_size_sum", queue=queue)
    waiting = metric("agentworkspace_batch_queue_depth", queue=queue)
    return int(metric("agentworkspace_batch_size_count", queue=queue)), int(calls + waiting)


@pytest.fixture(scope="module")
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CALLS) as pool:
        yield pool


def test_what_is_made_together_is_written_down_under_the_correlation_id_of_each(
    pair: Pair, callers: ThreadPoolExecutor, provision_database_of_module: str
) -> None:
    made = list(callers.map(lambda number: created(pair, f"create-{number}"), range(CALLS)))
    ids = [answer.workspace.id for answer in made]
    assert len({answer.auth_token for answer in made}) == CALLS
    before = batches(pair, "launch")
    with claims_held(provision_database_of_module):
        asked = [
            callers.submit(launched, pair, each, f"launch-{number}")
            for number, each in enumerate(ids)
        ]
        until(lambda: batches(pair, "launch")[1] == before[1] + CALLS)
    answers = [each.result() for each in asked]
    assert batches(pair, "launch")[0] - before[0] < CALLS
    assert [answer.env["WORKSPACE_ID"] for answer in answers] == ids
    assert len({answer.env["WORKSPACE_BOOTSTRAP_TICKET"] for answer in answers}) == CALLS
    for number, workspace_id in enumerate(ids):
        assert written(pair, workspace_id) == [
            ("provision", "workspace.create", f"create-{number}"),
            ("provision", "workspace.launch", f"launch-{number}"),
            ("registry", "workspace.admitted", f"create-{number}"),
            ("registry", "token.minted", f"create-{number}"),
            ("registry", "incarnation.begun", f"launch-{number}"),
        ]


def test_of_many_who_launch_the_same_workspaces_one_each_gets_the_environment(
    pair: Pair, callers: ThreadPoolExecutor
) -> None:
    ids = [created(pair, f"again-{number}").workspace.id for number in range(4)]
    answers = list(
        callers.map(lambda number: launched(pair, ids[number % 4], f"c-{number}"), range(CALLS))
    )
    handed = [answer.provision.workspace_id for answer in answers if answer.env]
    assert sorted(handed) == sorted(ids)
    assert [answer.joined for answer in answers].count(True) == CALLS - 4
    assert {answer.provision.incarnation for answer in answers if answer.env} == {1}


def test_the_same_requests_at_once_get_the_same_launch(
    pair: Pair, callers: ThreadPoolExecutor
) -> None:
    asked = [(created(pair, "c").workspace.id, str(uuid.uuid4())) for _ in range(4)]

    def launch(number: int) -> Any:
        workspace_id, request_id = asked[number % 4]
        return launched(pair, workspace_id, f"c-{number}", request_id)

    answers = list(callers.map(launch, range(CALLS)))
    assert all(answer.env for answer in answers)
    assert {answer.provision.incarnation for answer in answers} == {1}
    assert len({answer.provision.id for answer in answers}) == 4
