"""How boxes come in, over real RPC: first launch, lost answers, relaunch, recovery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_instance_token
from agentworkspace.registry.v1 import registration_service_pb2 as box
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as workspaces
from agentworkspace.registry.v1.registration_service_pb2_grpc import RegistrationServiceStub
from tests.rpc.registry_requests import Failed, failed
from tests.rpc.registry_server import LAUNCHER, Running, serving
from tests.rpc.registry_story import SECONDS, Workspace, new_id, sha256

StatusCode = grpc.StatusCode
BOXES = 64


@pytest.fixture(scope="module")
def running(
    registry_database_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with serving(registry_database_of_module, tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def workspace(running: Running) -> Workspace:
    return Workspace(running)


def test_a_fresh_workspace_is_bootstrapped_once_and_the_token_works(workspace: Workspace) -> None:
    workspace.admit()
    answer = workspace.register()
    assert answer.outcome == box.REGISTER_OUTCOME_BOOTSTRAPPED
    assert answer.auth_token.startswith("awi_")
    assert answer.heartbeat_interval.ToTimedelta().total_seconds() == 30
    assert workspace.accepts(answer.auth_token)
    refused = failed(workspace.register)
    assert (refused.code, refused.reason) == (StatusCode.UNAUTHENTICATED, "BEARER_MISSING")
    assert refused.recovery == "RELAUNCH"


def test_sixty_four_boxes_of_one_fresh_workspace_and_one_gets_in(workspace: Workspace) -> None:
    workspace.admit()
    start = Barrier(BOXES)

    def boot(_index: int) -> str:
        with grpc.insecure_channel(
            workspace.running.address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            stub = RegistrationServiceStub(channel)
            start.wait()
            try:
                answer = stub.Register(
                    box.RegisterRequest(workspace_id=workspace.workspace_id), timeout=SECONDS
                )
            except grpc.RpcError as error:
                return Failed(error).reason
            assert answer.auth_token
            return box.RegisterOutcome.Name(answer.outcome)

    with ThreadPoolExecutor(BOXES) as threads:
        outcomes = Counter(threads.map(boot, range(BOXES)))
    assert outcomes == {"REGISTER_OUTCOME_BOOTSTRAPPED": 1, "BEARER_MISSING": BOXES - 1}
    assert len(workspace.live_instance_tokens()) == 1


def test_a_box_that_holds_its_token_is_authenticated_and_gets_no_other(
    workspace: Workspace,
) -> None:
    workspace.admit()
    token = workspace.register().auth_token
    again = workspace.register(token, url="https://203.0.114.7:8443/a2a", runtime="claude-code")
    assert again.outcome == box.REGISTER_OUTCOME_AUTHENTICATED
    assert again.auth_token == ""
    found = workspace.registration()
    assert found.url == "https://203.0.114.7:8443/a2a"
    assert found.runtime == "claude-code"
    assert found.state == workspaces.REGISTRATION_STATE_ONLINE


def test_an_unknown_workspace_is_told_to_retry_and_nothing_is_created(workspace: Workspace) -> None:
    refused = failed(workspace.register)
    assert (refused.code, refused.reason) == (StatusCode.NOT_FOUND, "WORKSPACE_UNKNOWN")
    assert refused.recovery == "RETRY"
    assert failed(workspace.registration).reason == "WORKSPACE_UNKNOWN"


def test_a_retired_workspace_tells_its_box_to_stop(workspace: Workspace) -> None:
    workspace.admit()
    token = workspace.register().auth_token
    workspace.retire()
    refused = failed(lambda: workspace.register(token))
    assert (refused.code, refused.reason) == (
        StatusCode.FAILED_PRECONDITION,
        "WORKSPACE_REMOVED",
    )
    assert refused.recovery == "STOP"
    assert not workspace.accepts(token)


def test_a_box_launched_with_a_ticket_boots_with_the_token_it_derives(
    workspace: Workspace,
) -> None:
    workspace.admit()
    launch = workspace.launch()
    assert launch.incarnation == 1
    assert launch.bootstrap_ticket.startswith("awt_")
    own = derive_instance_token(
        Secret(launch.bootstrap_ticket), workspace.workspace_id, launch.incarnation
    ).reveal()
    assert failed(workspace.register).reason == "TICKET_REQUIRED"
    request_id = new_id()
    evidence = {"ticket": launch.bootstrap_ticket, "token_sha256": sha256(own)}
    first = workspace.register(**evidence, request_id=request_id)
    replay = workspace.register(**evidence, request_id=request_id)
    assert first.outcome == replay.outcome == box.REGISTER_OUTCOME_BOOTSTRAPPED
    assert first.auth_token == replay.auth_token == ""
    assert first.token.token_id == replay.token.token_id
    assert workspace.heartbeat(own).next_action == box.NEXT_ACTION_NONE
    in_place = workspace.register(**evidence)
    assert in_place.outcome == box.REGISTER_OUTCOME_AUTHENTICATED
    assert len(workspace.live_instance_tokens()) == 1


def test_a_lost_answer_with_a_server_made_token_is_replaced_while_unused(
    workspace: Workspace,
) -> None:
    workspace.admit()
    ticket = workspace.launch().bootstrap_ticket
    lost = workspace.register(ticket=ticket).auth_token
    found = workspace.register(ticket=ticket).auth_token
    assert found
    assert found != lost
    assert not workspace.accepts(lost)
    assert workspace.accepts(found)


def test_a_relaunch_supersedes_the_running_box(workspace: Workspace) -> None:
    workspace.admit()
    old = workspace.register(ticket=workspace.launch().bootstrap_ticket).auth_token
    launch = workspace.launch()
    assert (launch.incarnation, launch.revoked_count) == (2, 1)
    waiting = failed(lambda: workspace.register(old))
    assert (waiting.reason, waiting.recovery) == ("INCARNATION_SUPERSEDED", "RETRY")
    assert waiting.retry_seconds is not None
    workspace.register(ticket=launch.bootstrap_ticket)
    replaced = failed(lambda: workspace.register(old))
    assert (replaced.reason, replaced.recovery) == ("INCARNATION_SUPERSEDED", "STOP")
    assert replaced.code is StatusCode.FAILED_PRECONDITION


def test_a_box_whose_token_an_operator_revoked_recovers(workspace: Workspace) -> None:
    workspace.admit()
    first = workspace.register(ticket=workspace.launch().bootstrap_ticket)
    workspace.revoke(first.token.token_id)
    assert workspace.heartbeat(first.auth_token).next_action == box.NEXT_ACTION_REGISTER
    back = workspace.register(first.auth_token)
    assert back.outcome == box.REGISTER_OUTCOME_RECOVERED
    assert workspace.accepts(back.auth_token)


def test_a_revoked_bearer_opens_nothing_while_another_token_lives(workspace: Workspace) -> None:
    workspace.admit()
    first = workspace.register(ticket=workspace.launch().bootstrap_ticket)
    workspace.revoke(first.token.token_id)
    workspace.register(first.auth_token)
    refused = failed(lambda: workspace.register(first.auth_token))
    assert (refused.reason, refused.recovery) == ("BEARER_REJECTED", "RELAUNCH")


def test_a_compromised_workspace_waits_for_a_launch(workspace: Workspace) -> None:
    workspace.admit()
    token = workspace.register().auth_token
    workspace.revoke_all(reason=token_pb2.REVOKE_REASON_COMPROMISED)
    for shown in (token, ""):
        refused = failed(lambda: workspace.register(shown))  # noqa: B023
        assert (refused.reason, refused.recovery) == ("TICKET_REQUIRED", "RELAUNCH")
        assert refused.info["line"] == "FENCED"
    launch = workspace.launch()
    assert workspace.register(ticket=launch.bootstrap_ticket).auth_token


def test_a_suspended_workspace_stops(workspace: Workspace) -> None:
    workspace.admit()
    token = workspace.register().auth_token
    workspace.revoke_all(reason=token_pb2.REVOKE_REASON_SUSPENDED)
    refused = failed(lambda: workspace.register(token))
    assert (refused.reason, refused.recovery) == ("WORKSPACE_SUSPENDED", "STOP")


def test_the_first_token_comes_inline_and_lets_an_external_agent_register(
    workspace: Workspace,
) -> None:
    issued = workspace.admit(first_token=True).issued
    assert issued.delivery == token_pb2.SECRET_DELIVERY_ENCLOSED
    assert issued.plaintext.startswith("awa_")
    assert len(issued.plaintext) >= 40
    answer = workspace.register(issued.plaintext)
    assert answer.outcome == box.REGISTER_OUTCOME_RECOVERED
    assert workspace.accepts(issued.plaintext)


def test_a_workspace_that_needs_a_ticket_from_birth(workspace: Workspace) -> None:
    workspace.admit(ticket_required=True)
    assert failed(workspace.register).reason == "TICKET_REQUIRED"


def test_a_hash_is_usable_once_ever(running: Running) -> None:
    one, two = Workspace(running), Workspace(running)
    one.admit()
    two.admit()
    one.register(token_sha256=sha256("my own token"))
    taken = failed(lambda: two.register(token_sha256=sha256("my own token")))
    assert (taken.code, taken.reason) == (StatusCode.ALREADY_EXISTS, "TOKEN_HASH_IN_USE")
    assert taken.recovery == "FIX_REQUEST"


def test_a_box_leaves_cleanly(workspace: Workspace) -> None:
    workspace.admit()
    token = workspace.register().auth_token
    workspace.deregister(token)
    found = workspace.registration()
    assert found.left
    assert found.state == workspaces.REGISTRATION_STATE_OFFLINE
    assert not workspace.accepts(token)
    assert failed(lambda: workspace.deregister(token)).reason == "BEARER_REJECTED"


def test_a_card_is_kept_as_it_was_told(workspace: Workspace) -> None:
    workspace.admit()
    token = workspace.register().auth_token
    card = {
        "name": "reviewer",
        "skills": [{"id": "review", "weight": 3}],
        "beta": True,
        "note": None,
    }
    request = box.UpdateCardRequest(workspace_id=workspace.workspace_id)
    ParseDict(card, request.agent_card)
    workspace.update_card(token, agent_card=request.agent_card)
    assert workspace.registration().agent_card == request.agent_card


def test_heartbeats_tell_how_the_box_is(workspace: Workspace) -> None:
    workspace.admit()
    token = workspace.register().auth_token
    answer = workspace.heartbeat(token, active_tasks=3, degraded=True, sample_error="slow")
    assert answer.next_action == box.NEXT_ACTION_NONE
    found = workspace.registration()
    assert found.state == workspaces.REGISTRATION_STATE_DEGRADED
    assert (found.active_tasks, found.sample_error) == (3, "slow")
    workspace.heartbeat(token)
    assert workspace.registration().state == workspaces.REGISTRATION_STATE_ONLINE


def test_a_heartbeat_with_a_strangers_token_is_refused(running: Running) -> None:
    one, two = Workspace(running), Workspace(running)
    one.admit()
    two.admit()
    token = one.register().auth_token
    two.register()
    refused = failed(lambda: two.heartbeat(token))
    assert (refused.code, refused.reason) == (StatusCode.UNAUTHENTICATED, "BEARER_REJECTED")
    assert refused.recovery == "REGISTER"


def test_many_boxes_beat_at_once(running: Running) -> None:
    alive = []
    for _ in range(20):
        each = Workspace(running)
        each.admit()
        alive.append((each, each.register().auth_token))
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda pair: pair[0].heartbeat(pair[1]), alive * 10))
    assert {each.next_action for each in answers} == {box.NEXT_ACTION_NONE}


def test_refused_registers_are_counted_and_shown(workspace: Workspace) -> None:
    workspace.admit()
    workspace.register()
    for _ in range(3):
        failed(workspace.register)
    workspace.running.on_loop(workspace.running.service.background.flush_refused())
    rejected = workspace.registration().rejected_registers
    assert rejected.count == 3
    assert rejected.last_reason == 18  # BEARER_MISSING


def test_lists_are_cut_into_pages(running: Running) -> None:
    tenant = f"tenant-{new_id()}"
    ids = []
    for _ in range(5):
        each = Workspace(running, tenant_id=tenant)
        each.admit()
        ids.append(each.workspace_id)
    found: list[str] = []
    page_token = ""
    for _ in range(3):
        page = running.workspaces.ListRegistrations(
            workspaces.ListRegistrationsRequest(
                tenant_id=tenant, page_size=2, page_token=page_token
            ),
            metadata=LAUNCHER,
            timeout=SECONDS,
        )
        found += [each.workspace_id for each in page.registrations]
        page_token = page.next_page_token
    assert page_token == ""
    assert found == ids[::-1]


def test_a_page_token_of_nobody_is_refused(running: Running) -> None:
    request = workspaces.ListRegistrationsRequest(page_token="nonsense")
    refused = failed(
        lambda: running.workspaces.ListRegistrations(request, metadata=LAUNCHER, timeout=SECONDS)
    )
    assert (refused.reason, refused.fields) == ("INVALID_REQUEST", ["page_token"])
