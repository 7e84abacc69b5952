"""Many admissions or launches in one call: each is done as alone, or has an empty result and is
left as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agentworkspace.registry.v1 import audit_service_pb2 as audit
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as pb
from tests.rpc.registry_batches import (
    admission,
    admit_all,
    admit_alone,
    begin_all,
    begin_alone,
    launch,
)
from tests.rpc.registry_requests import failed
from tests.rpc.registry_server import ADMIN, LAUNCHER, Running, bearer, secret_of, serving
from tests.rpc.registry_story import SECONDS, Workspace, new_id, sha256

GLOBEX = bearer(secret_of("globex-control-plane"))
NOT_ADMITTED = pb.BatchAdmission()
NOT_BEGUN = pb.BeginIncarnationResponse()


@pytest.fixture(scope="module")
def running(
    registry_database_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with serving(registry_database_of_module, tmp_path_factory.mktemp("registry")) as running:
        yield running


def admitted(running: Running, **more: Any) -> Workspace:
    workspace = Workspace(running, **more)
    workspace.admit()
    return workspace


def suspended(running: Running) -> Workspace:
    workspace = admitted(running)
    workspace.revoke_all(reason=token_pb2.REVOKE_REASON_SUSPENDED)
    return workspace


def retired(running: Running) -> Workspace:
    workspace = admitted(running)
    workspace.retire()
    return workspace


def test_new_workspaces_are_admitted_in_order_each_with_a_first_token_that_lives(
    running: Running,
) -> None:
    fleet = [Workspace(running) for _ in range(3)]
    asked = [admission(each, first_token=pb.FirstToken(label=f"of {n}", scopes=["a:b"]))
             for n, each in enumerate(fleet)]  # fmt: skip
    results = admit_all(running, *asked)
    assert [result.admitted for result in results] == [True, True, True]
    assert [result.issued.token.label for result in results] == ["of 0", "of 1", "of 2"]
    for each, result in zip(fleet, results, strict=True):
        assert result.issued.delivery == token_pb2.SECRET_DELIVERY_ENCLOSED
        assert each.accepts(result.issued.plaintext)
        assert each.registration().state == pb.REGISTRATION_STATE_PENDING
    assert not fleet[0].accepts(results[1].issued.plaintext)


def test_an_admission_without_a_first_token_issues_none(running: Running) -> None:
    workspace = Workspace(running)
    (result,) = admit_all(
        running, admission(workspace, first_token=None, request_id="", ticket_required=True)
    )
    assert (result.admitted, result.HasField("issued")) == (True, False)
    assert workspace.registration().ticket_required


def test_launches_begin_in_order_each_with_a_ticket_of_its_own(running: Running) -> None:
    fleet = [admitted(running) for _ in range(3)]
    box = fleet[1].register(ticket=fleet[1].launch().bootstrap_ticket).auth_token
    fleet[2].launch()
    fleet[2].launch()
    results = begin_all(running, *map(launch, fleet))
    assert [result.incarnation for result in results] == [1, 2, 3]
    assert [result.revoked_count for result in results] == [0, 1, 0]
    assert not fleet[1].accepts(box)
    refused = failed(lambda: fleet[0].register(ticket=results[1].bootstrap_ticket))
    assert refused.reason == "TICKET_REQUIRED"
    for each, result in zip(fleet, results, strict=True):
        assert result.delivery == token_pb2.SECRET_DELIVERY_ENCLOSED
        assert each.register(ticket=result.bootstrap_ticket).incarnation == result.incarnation


def test_a_hundred_fit_into_one_call(running: Running) -> None:
    fleet = [Workspace(running) for _ in range(100)]
    admissions = admit_all(running, *map(admission, fleet))
    assert [result.admitted for result in admissions] == [True] * 100
    launches = begin_all(running, *map(launch, fleet))
    assert [result.incarnation for result in launches] == [1] * 100


def test_an_admission_that_is_refused_or_repeated_is_left_and_the_others_are_made(
    running: Running,
) -> None:
    foreign, gone, known = (
        admitted(running, tenant_id="globex"),
        retired(running),
        admitted(running),
    )
    first, other, remembered, lame, wanting, hashed = (Workspace(running) for _ in range(6))
    taken = pb.FirstToken(token_sha256=sha256(known.mint().plaintext))
    asked = [
        admission(first),
        admission(foreign, tenant_id="acme"),
        admission(gone),
        admission(known),
        admission(remembered, remembered_incarnation=3),
        admission(lame, suspended=True),
        admission(wanting, first_token=taken),
        admission(hashed, first_token=pb.FirstToken(token_sha256=sha256(new_id()))),
        admission(first),
        admission(other),
    ]
    results = admit_all(running, *asked)
    assert [result.admitted for result in results] == [True, *[False] * 8, True]
    assert results[1:-1] == [NOT_ADMITTED] * 8
    assert [len(each.tokens()) for each in (first, other, known)] == [1, 1, 1]
    for each in (remembered, lame, wanting, hashed):
        assert failed(each.registration).reason == "WORKSPACE_UNKNOWN"
    # Each of them alone is answered as ever.
    refused = [failed(lambda each=each: admit_alone(running, each)) for each in asked[1:3]]  # type: ignore[misc]
    assert [each.reason for each in refused] == ["TENANT_MISMATCH", "WORKSPACE_REMOVED"]
    assert not admit_alone(running, asked[3]).HasField("issued")
    assert admit_alone(running, asked[4]).workspace.incarnation == 3
    assert admit_alone(running, asked[5]).workspace.fences == [pb.FENCE_SUSPENDED]
    assert failed(lambda: admit_alone(running, asked[6])).reason == "TOKEN_HASH_IN_USE"
    made = admit_alone(running, asked[7]).issued
    assert made.delivery == token_pb2.SECRET_DELIVERY_CALLER_MADE
    assert not admit_alone(running, asked[8]).HasField("issued")


def test_a_launch_that_is_refused_or_skipped_is_left_and_the_others_begin(
    running: Running,
) -> None:
    nobody, gone, lame = Workspace(running), retired(running), suspended(running)
    healthy, reaching, wanting, first, other = (admitted(running) for _ in range(5))
    healthy.register(ticket=healthy.launch().bootstrap_ticket)
    taken = sha256(other.mint().plaintext)
    asked = [
        launch(first),
        launch(nobody),
        launch(gone),
        launch(lame),
        launch(reaching, minimum_incarnation=2_000_000),
        launch(wanting, ticket_sha256=taken),
        launch(healthy, only_if_needed=True),
        launch(other),
    ]
    results = begin_all(running, *asked)
    assert [result.incarnation for result in results] == [1, 0, 0, 0, 0, 0, 0, 1]
    assert results[1:-1] == [NOT_BEGUN] * 6
    counted = [each.registration().incarnation for each in (lame, reaching, wanting, healthy)]
    assert counted == [0, 0, 0, 1]
    assert len(healthy.live_instance_tokens()) == 1
    # Each of them alone is answered as ever.
    refused = [failed(lambda each=each: begin_alone(running, each)) for each in asked[1:6]]  # type: ignore[misc]
    assert [each.reason for each in refused] == [
        "WORKSPACE_UNKNOWN",
        "WORKSPACE_REMOVED",
        "WORKSPACE_SUSPENDED",
        "INVALID_REQUEST",
        "TOKEN_HASH_IN_USE",
    ]
    skipped = begin_alone(running, asked[6])
    assert (skipped.skipped, skipped.incarnation) == (True, 1)


def test_a_launch_of_a_batch_that_is_asked_for_again_alone_keeps_its_number(
    running: Running,
) -> None:
    workspace, by_hash = admitted(running), admitted(running)
    made = f"a ticket of another make {new_id()}"
    asked = [launch(workspace), launch(by_hash, ticket_sha256=sha256(made))]
    first, second = begin_all(running, *asked)
    assert (second.bootstrap_ticket, second.delivery) == ("", token_pb2.SECRET_DELIVERY_CALLER_MADE)
    again = begin_alone(running, asked[0])
    assert (again.incarnation, again.revoked_count) == (1, 0)
    # Nobody used the first ticket, so the new one takes its place.
    assert again.bootstrap_ticket not in {"", first.bootstrap_ticket}
    assert workspace.register(ticket=again.bootstrap_ticket).incarnation == 1
    assert begin_alone(running, asked[1]) == second
    assert by_hash.register(ticket=made).incarnation == 1
    asked[0].ticket_ttl.seconds = 60
    assert failed(lambda: begin_alone(running, asked[0])).reason == "REQUEST_ID_REUSED"


def test_an_admission_of_a_batch_that_is_asked_for_again_alone_gets_its_first_token_again(
    running: Running,
) -> None:
    workspace = Workspace(running)
    asked = admission(workspace)
    (first,) = admit_all(running, asked)
    again = admit_alone(running, asked).issued
    # Nobody used the first one, so the new one takes its place.
    assert workspace.accepts(again.plaintext)
    assert not workspace.accepts(first.issued.plaintext)
    assert [each.token_id for each in workspace.tokens()] == [again.token.token_id]
    used = admit_alone(running, asked).issued
    assert (used.token.token_id, used.plaintext) == (again.token.token_id, "")
    assert used.delivery == token_pb2.SECRET_DELIVERY_ALREADY_DELIVERED
    asked.first_token.label = "another"
    assert failed(lambda: admit_alone(running, asked)).reason == "REQUEST_ID_REUSED"


def test_what_was_asked_for_alone_is_not_done_again_in_a_batch(running: Running) -> None:
    workspace, other = Workspace(running), Workspace(running)
    asked = admission(workspace)
    issued = admit_alone(running, asked).issued
    results = admit_all(running, asked, admission(other))
    assert [result.admitted for result in results] == [False, True]
    assert workspace.accepts(issued.plaintext)
    wanted = launch(workspace)
    ticket = begin_alone(running, wanted).bootstrap_ticket
    begun = begin_all(running, launch(other), wanted)
    assert [result.incarnation for result in begun] == [1, 0]
    assert workspace.register(ticket=ticket).incarnation == 1
    again = begin_alone(running, wanted)
    assert (again.incarnation, again.bootstrap_ticket) == (1, "")
    assert again.delivery == token_pb2.SECRET_DELIVERY_ALREADY_DELIVERED


def test_a_batch_that_is_sent_again_does_nothing_twice(running: Running) -> None:
    fleet = [Workspace(running) for _ in range(3)]
    admissions, launches = list(map(admission, fleet)), list(map(launch, fleet))
    first = admit_all(running, *admissions)
    assert admit_all(running, *admissions) == [NOT_ADMITTED] * 3
    assert [len(each.tokens()) for each in fleet] == [1, 1, 1]
    begun = begin_all(running, *launches)
    assert begin_all(running, *launches) == [NOT_BEGUN] * 3
    for each, token, started in zip(fleet, first, begun, strict=True):
        assert each.accepts(token.issued.plaintext)
        assert each.register(ticket=started.bootstrap_ticket).incarnation == 1


def test_of_two_launches_of_a_workspace_in_one_call_the_first_begins(running: Running) -> None:
    same, different = admitted(running), admitted(running)
    twice = launch(same)
    asked = [twice, launch(different), launch(different), twice]
    results = begin_all(running, *asked)
    assert [result.incarnation for result in results] == [1, 1, 0, 0]
    assert begin_alone(running, asked[3]).incarnation == 1
    assert begin_alone(running, asked[2]).incarnation == 2


def test_of_two_launches_that_want_one_hash_at_most_one_begins(running: Running) -> None:
    one, two = admitted(running), admitted(running)
    made = sha256(new_id())
    asked = [launch(one, ticket_sha256=made), launch(two, ticket_sha256=made)]
    begin_all(running, *asked)
    assert begin_alone(running, asked[0]).incarnation == 1
    assert failed(lambda: begin_alone(running, asked[1])).reason == "TOKEN_HASH_IN_USE"


def logged(workspace: Workspace) -> list[Any]:
    """What the audit has of the workspace, oldest first: action, method, correlation id."""
    request = audit.ListAuditEventsRequest(workspace_id=workspace.workspace_id)
    answer = workspace.running.audit.ListAuditEvents(request, metadata=ADMIN, timeout=SECONDS)
    return sorted((each.action, each.method, each.correlation_id) for each in answer.events)


def test_what_is_audited_of_each_carries_its_own_correlation_id(running: Running) -> None:
    fleet = [Workspace(running) for _ in range(5)]
    ids = ["call-a", "not acceptable", "awi_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh82YXkNx", ""]
    kept = ["call-a", "of-the-call", "of-the-call", "of-the-call", "of-the-call"]
    metadata = (*LAUNCHER, ("agentworkspace-correlation-id", "of-the-call"))
    admit_all(running, *map(admission, fleet), correlation_ids=ids, metadata=metadata)
    begin_all(running, *map(launch, fleet), correlation_ids=ids, metadata=metadata)
    service = "/agentworkspace.registry.v1.WorkspaceRegistryService/"
    assert [logged(each) for each in fleet] == [
        [
            ("incarnation.begun", f"{service}BatchBeginIncarnations", correlation_id),
            ("token.minted", f"{service}BatchAdmitWorkspaces", correlation_id),
            ("workspace.admitted", f"{service}BatchAdmitWorkspaces", correlation_id),
        ]
        for correlation_id in kept
    ]


def test_a_call_without_a_correlation_id_is_audited_under_one(running: Running) -> None:
    fleet = [Workspace(running) for _ in range(3)]
    admit_all(running, *map(admission, fleet), correlation_ids=["", "call-b"])
    (first, second, third) = ({each[2] for each in logged(workspace)} for workspace in fleet)
    assert second == {"call-b"}
    assert first == third
    assert "" not in first


def test_a_launcher_of_some_tenants_does_nothing_for_another(running: Running) -> None:
    own, foreign = Workspace(running, "globex"), Workspace(running, "acme")
    results = admit_all(running, admission(foreign), admission(own), metadata=GLOBEX)
    assert [result.admitted for result in results] == [False, True]
    assert failed(foreign.registration).reason == "WORKSPACE_UNKNOWN"
    alone = failed(lambda: admit_alone(running, admission(foreign), GLOBEX))
    assert alone.reason == "TENANT_FORBIDDEN"
    foreign.admit()
    nobody = Workspace(running)
    begun = begin_all(running, *map(launch, (foreign, own, nobody)), metadata=GLOBEX)
    assert [result.incarnation for result in begun] == [0, 1, 0]
    # Whether there is such a workspace is not told either.
    assert begun[0] == begun[2]
    assert foreign.registration().incarnation == 0
    alone = failed(lambda: begin_alone(running, launch(foreign), GLOBEX))
    assert alone.reason == "TENANT_FORBIDDEN"
