"""One trace over both services: what a launch did, statement by statement, and no secret in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc
import pytest

from agentworkspace.registry.v1 import workspace_registry_service_pb2 as pb
from agentworkspace.rpc.errors import CORRELATION_KEY
from tests.lifecycle import collector as collectors
from tests.lifecycle.collector import Collector, Span, collecting
from tests.lifecycle.launches import (
    SECRETS,
    create,
    launch_request,
    set_secret,
    workspace_at,
)
from tests.lifecycle.processes import Pair, pair
from tests.lifecycle.statement_log import StatementLog, logging_statements
from tests.postgres import PostgresServer
from tests.rpc.provision_server import USAGE_TOKEN
from tests.rpc.registry_batches import admission
from tests.rpc.registry_requests import failed
from tests.rpc.registry_server import CALLERS, LAUNCHER, secret_of
from tests.rpc.registry_story import SECONDS

StatusCode = grpc.StatusCode
PROVISION: Final = "agentworkspace.provision.v1.WorkspaceService/ProvisionWorkspace"
BEGIN: Final = "agentworkspace.registry.v1.WorkspaceRegistryService/BatchBeginIncarnations"
BATCH_ADMIT: Final = "agentworkspace.registry.v1.WorkspaceRegistryService/BatchAdmitWorkspaces"
VALIDATE: Final = "agentworkspace.registry.v1.TokenService/ValidateToken"
REGISTER: Final = "agentworkspace.registry.v1.RegistrationService/Register"
HEARTBEAT: Final = "agentworkspace.registry.v1.RegistrationService/Heartbeat"
INTERNAL, SERVER, CLIENT = 1, 2, 3
CLAIM: Final = ["EXECUTE lock_free", "EXECUTE seen_by_many", "EXECUTE claim", "COMMIT"]
DELIVERY: Final = ["EXECUTE lock_free", "EXECUTE deliver", "COMMIT"]
BEGINNING: Final = ["EXECUTE lock_for_launching", "EXECUTE begin", "COMMIT"]
TRACE_ID: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT: Final = "00f067aa0ba902b7"
TRACEPARENT: Final = ("traceparent", f"00-{TRACE_ID}-{PARENT}-01")
PLANTED: Final = "swordfish-of-nobody-0123456789"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as started:
        yield started


@pytest.fixture
def sent(
    postgres: PostgresServer, registry_database: str, provision_database: str
) -> Iterator[StatementLog]:
    """What PostgreSQL says that both services sent it."""
    with logging_statements(postgres, registry_database, provision_database) as log:
        yield log


@pytest.fixture
def both(
    sent: StatementLog,
    registry_database: str,
    provision_database: str,
    tmp_path: Path,
    collector: Collector,
) -> Iterator[Pair]:
    settings = collectors.settings(collector)
    with pair(registry_database, provision_database, tmp_path, settings=settings) as started:
        yield started


def of_the_trace(spans: list[Span]) -> list[Span]:
    return [each for each in spans if each.wire.trace_id.hex() == TRACE_ID]


def named(spans: list[Span], name: str, kind: int) -> Span:
    (found,) = [each for each in spans if each.name == name and each.wire.kind == kind]
    return found


def below(spans: list[Span], parent: Span) -> list[str]:
    """The names of a span's children, in the order in which they began."""
    children = [each for each in spans if each.wire.parent_span_id == parent.wire.span_id]
    return [each.name for each in sorted(children, key=lambda each: each.wire.start_time_unix_nano)]


def done(names: list[str]) -> list[str]:
    """Without what only prepares a statement: each connection does so once, at its first use."""
    return [each for each in names if not each.startswith("PREPARE ")]


def test_a_trace_of_one_launch_shows_both_services_and_each_statement(
    both: Pair, collector: Collector, sent: StatementLog, tmp_path: Path
) -> None:
    workspace_id = create(both.provision).workspace.id
    both.provision.workspaces.ProvisionWorkspace(
        launch_request(workspace_id), metadata=(*LAUNCHER, TRACEPARENT), timeout=SECONDS
    )
    spans = of_the_trace(
        collector.until(
            lambda all_: (
                {(PROVISION, SERVER), (BEGIN, SERVER)}
                <= {(each.name, each.wire.kind) for each in of_the_trace(all_)}
            )
        )
    )
    answered = named(spans, PROVISION, SERVER)
    asked = named(spans, BEGIN, CLIENT)
    begun = named(spans, BEGIN, SERVER)
    assert answered.service == asked.service == "provision-service"
    assert begun.service == "registry-service"
    assert answered.wire.parent_span_id.hex() == PARENT
    batch = named(spans, "batch launch", INTERNAL)
    assert asked.wire.parent_span_id == batch.wire.span_id
    assert begun.wire.parent_span_id == asked.wire.span_id
    assert answered.attributes["rpc.grpc.status_code"] == 0
    assert answered.attributes["agentworkspace.caller"] == "control-plane"
    # The claim and the delivery, one transaction each, with the registry's call between them.
    assert below(spans, answered) == ["batch launch"]
    launched = below(spans, batch)
    beginning = below(spans, named(spans, "batch begin", INTERNAL))
    assert done(launched) == [*CLAIM, BEGIN, *DELIVERY]
    assert below(spans, begun) == ["batch begin"]
    assert done(beginning) == BEGINNING
    # And the server itself was sent nothing else.
    (claim,) = sent.transactions(workspace_id, "EXECUTE claim")
    (delivery,) = sent.transactions(workspace_id, "EXECUTE deliver")
    assert [*claim, BEGIN, *delivery] == launched
    assert sent.transactions(workspace_id, "EXECUTE begin") == [beginning]
    for statement in [each for each in spans if "db.query.text" in each.attributes]:
        assert statement.attributes["db.system.name"] == "postgresql"
        assert workspace_id not in statement.attributes["db.query.text"]
    lines = [
        json.loads(line)
        for service in ("registry", "provision")
        for line in (tmp_path / f"{service}.log").read_text().splitlines()
        if line.startswith("{") and TRACE_ID in line
    ]
    assert {line["method"].rpartition("/")[2] for line in lines if line["event"] == "call"} == {
        "ProvisionWorkspace",
        "BatchBeginIncarnations",
    }


def test_what_a_box_asks_shows_each_statement_also_those_that_are_prepared_and_shared(
    both: Pair, collector: Collector, sent: StatementLog
) -> None:
    workspace_id = create(both.provision).workspace.id
    launched = both.provision.workspaces.ProvisionWorkspace(
        launch_request(workspace_id), metadata=LAUNCHER, timeout=SECONDS
    )
    workspace = workspace_at(both.registry, workspace_id)
    token = workspace.register(ticket=launched.env["WORKSPACE_BOOTSTRAP_TICKET"]).auth_token
    workspace.heartbeat(token)
    both.registry.stop()
    spans = collector.spans
    assert below(spans, named(spans, REGISTER, SERVER)) == ["batch first register"]
    registered = below(spans, named(spans, "batch first register", INTERNAL))
    assert done(registered) == [
        *("EXECUTE lock_for_redeeming", "EXECUTE snapshots", "EXECUTE redeem", "EXECUTE arrive"),
        "COMMIT",
    ]
    assert sent.transactions(workspace_id, "EXECUTE redeem") == [registered]
    # A line did not know the box, whose token was never used before.
    assert below(spans, named(spans, HEARTBEAT, SERVER)) == ["batch known box", "batch heartbeat"]
    beaten = below(spans, named(spans, "batch heartbeat", INTERNAL))
    (own,) = sent.transactions(workspace_id, "EXECUTE beat")
    assert beaten[-len(own) :] == own
    assert "EXECUTE known" in beaten[: -len(own)]


def test_no_secret_is_ever_in_a_span(both: Pair, collector: Collector) -> None:
    created = create(both.provision)
    workspace_id = created.workspace.id
    set_secret(both.provision, workspace_id, "PLANTED", PLANTED)
    more = (
        TRACEPARENT,
        ("tracestate", f"vendor={PLANTED}"),
        ("baggage", f"key={PLANTED}"),
        (CORRELATION_KEY, "sk-ant-planted-0123456789"),
    )
    launched = both.provision.workspaces.ProvisionWorkspace(
        launch_request(workspace_id), metadata=(*LAUNCHER, *more), timeout=SECONDS
    )
    ticket = launched.env["WORKSPACE_BOOTSTRAP_TICKET"]
    workspace = workspace_at(both.registry, workspace_id)
    token = workspace.register(ticket=ticket).auth_token
    workspace.heartbeat(token)
    assert workspace.accepts(token)
    assert failed(lambda: workspace.register(PLANTED)).code is StatusCode.UNAUTHENTICATED
    both.provision.stop()
    both.registry.stop()
    spans = collector.spans
    assert {"batch known", VALIDATE, PROVISION} <= {each.name for each in spans}
    secrets = {
        PLANTED,
        token,
        created.auth_token,
        ticket,
        USAGE_TOKEN,
        "sk-ant-planted-0123456789",
        *SECRETS.values(),
        *(secret_of(caller) for caller in CALLERS),
        *(value for key, value in launched.env.items() if "TOKEN" in key or "KEY" in key),
    }
    assert [len(secret) for secret in secrets if len(secret) < 10] == []
    assert [
        secret for secret in secrets if any(secret.encode() in raw for raw in collector.raw)
    ] == []


def test_calls_that_share_a_batch_are_linked_to_it(both: Pair, collector: Collector) -> None:
    workspace = workspace_at(both.registry)
    workspace.admit()
    token = workspace.mint().plaintext
    assert workspace.accepts(token)
    spans = collector.until(lambda all_: VALIDATE in {each.name for each in all_})
    call = next(each for each in spans if each.name == VALIDATE)
    batches = [each for each in spans if each.wire.parent_span_id == call.wire.span_id]
    assert batches
    assert all(each.name.startswith("batch ") for each in batches)
    assert all(below(spans, each) for each in batches), "the batch shows its statement"


def test_a_call_for_many_is_the_one_parent_of_their_batch(both: Pair, collector: Collector) -> None:
    admissions = [admission(workspace_at(both.registry)) for _ in range(3)]
    both.registry.workspaces.BatchAdmitWorkspaces(
        pb.BatchAdmitWorkspacesRequest(requests=admissions), metadata=LAUNCHER, timeout=SECONDS
    )
    spans = collector.until(lambda all_: BATCH_ADMIT in {each.name for each in all_})
    batch = named(spans, "batch admit", INTERNAL)
    assert batch.wire.parent_span_id == named(spans, BATCH_ADMIT, SERVER).wire.span_id
    assert list(batch.wire.links) == []
    assert batch.attributes["agentworkspace.calls"] == 1
