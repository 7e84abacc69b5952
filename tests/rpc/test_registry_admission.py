"""The admission rules as a client meets them: names of lines, reasons, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from grpc import StatusCode

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_proxy_token, sha256_hex
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as tokens
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as workspaces
from tests.rpc.registry_requests import failed
from tests.rpc.registry_server import ADMIN, LAUNCHER, Running, serving
from tests.rpc.registry_story import SECONDS, Workspace

COMPROMISED = token_pb2.REVOKE_REASON_COMPROMISED
SUSPENDED = token_pb2.REVOKE_REASON_SUSPENDED


@pytest.fixture(scope="module")
def running(
    registry_database_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with serving(registry_database_of_module, tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def workspace(running: Running) -> Workspace:
    return Workspace(running)


def begin(workspace: Workspace, **more: Any) -> Any:
    request = workspaces.BeginIncarnationRequest(workspace_id=workspace.workspace_id, **more)
    return workspace.running.workspaces.BeginIncarnation(
        request, metadata=LAUNCHER, timeout=SECONDS
    )


def test_an_answer_names_the_line_that_let_the_box_in(workspace: Workspace) -> None:
    workspace.admit()
    first = workspace.register(ticket=workspace.launch().bootstrap_ticket)
    assert (first.line, workspace.register(first.auth_token).line) == ("TICKET", "LIVE_TOKEN")
    refused = failed(workspace.register)
    assert (refused.reason, refused.info["line"]) == ("BEARER_MISSING", "ANOTHER_LIVES")


def test_a_forecast_names_its_line_and_keeps_the_old_number(workspace: Workspace) -> None:
    workspace.admit()
    workspace.launch()
    request = workspaces.DiagnoseRequest(workspace_id=workspace.workspace_id)
    answer = workspace.running.workspaces.Diagnose(request, metadata=LAUNCHER, timeout=SECONDS)
    named = {each.evidence: (each.line_name, each.line) for each in answer.forecasts}
    assert named["the ticket of the newest launch"] == ("TICKET", 2)
    assert named["nothing"] == ("TICKET_NEEDED", 15)


@pytest.mark.parametrize("reason", ["UNSPECIFIED", "ROTATED", "SUSPENDED", "DEREGISTERED"])
def test_a_token_is_revoked_for_a_reason_that_says_who_may_come_back(
    workspace: Workspace, reason: str
) -> None:
    workspace.admit()
    number = token_pb2.RevokeReason.Value(f"REVOKE_REASON_{reason}")
    issued = workspace.mint()
    refused = failed(lambda: workspace.revoke(issued.token.token_id, reason=number))
    assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, ["reason"])
    assert workspace.accepts(issued.plaintext)


def test_a_workspace_is_suspended_as_a_whole(workspace: Workspace) -> None:
    workspace.admit()
    kinds = [token_pb2.TOKEN_KIND_INSTANCE]
    refused = failed(lambda: workspace.revoke_all(reason=SUSPENDED, kinds=kinds))
    assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, ["kinds"])
    workspace.revoke_all(reason=SUSPENDED)
    found = workspace.registration()
    assert list(found.fences) == [workspaces.FENCE_SUSPENDED]


def test_a_suspension_holds_until_a_launch_that_lifts_it(workspace: Workspace) -> None:
    workspace.admit()
    ticket = workspace.launch().bootstrap_ticket
    workspace.revoke_all(reason=SUSPENDED)
    box = failed(lambda: workspace.register(ticket=ticket))
    assert (box.reason, box.recovery) == ("WORKSPACE_SUSPENDED", "STOP")
    launcher = failed(lambda: begin(workspace))
    assert (launcher.code, launcher.reason) == (
        StatusCode.FAILED_PRECONDITION,
        "WORKSPACE_SUSPENDED",
    )
    assert (launcher.recovery, "RESUME" in launcher.message) == ("FIX_REQUEST", True)
    lifted = begin(workspace, lift_suspension=True)
    assert workspace.register(ticket=lifted.bootstrap_ticket).line == "TICKET"


def test_a_replay_of_a_fenced_launch_is_told_so(workspace: Workspace) -> None:
    workspace.admit()
    request_id = "0e4c0000-0000-4000-8000-000000000001"
    begin(workspace, request_id=request_id)
    workspace.revoke_all(reason=COMPROMISED)
    refused = failed(lambda: begin(workspace, request_id=request_id))
    assert (refused.code, refused.reason) == (
        StatusCode.FAILED_PRECONDITION,
        "INCARNATION_FENCED",
    )
    assert (refused.info["fence"], refused.info["incarnation"]) == ("COMPROMISED", "1")


def test_a_launch_that_is_not_needed_is_skipped(workspace: Workspace) -> None:
    workspace.admit()
    answer = begin(workspace, only_if_needed=True)
    assert (answer.skipped, answer.incarnation, answer.bootstrap_ticket) == (True, 0, "")
    assert not answer.HasField("ticket_expire_time")


def test_an_unknown_workspace_is_the_callers_mistake_and_the_boxs_patience(
    running: Running,
) -> None:
    nobody = Workspace(running)
    by_hand = failed(lambda: begin(nobody))
    assert (by_hand.reason, by_hand.recovery) == ("WORKSPACE_UNKNOWN", "FIX_REQUEST")
    box = failed(nobody.register)
    assert (box.reason, box.recovery) == ("WORKSPACE_UNKNOWN", "RETRY")


def test_a_leaked_token_is_revoked_by_its_own_text(workspace: Workspace) -> None:
    workspace.admit()
    first = workspace.register(ticket=workspace.launch().bootstrap_ticket)
    request = tokens.RevokeTokenRequest(token=first.auth_token, reason=COMPROMISED)
    receipt = workspace.running.tokens.RevokeToken(request, metadata=ADMIN, timeout=SECONDS)
    assert (receipt.workspace_id, receipt.token_id) == (
        workspace.workspace_id,
        first.token.token_id,
    )
    assert not workspace.accepts(first.auth_token)
    request.token_id = first.token.token_id
    refused = failed(
        lambda: workspace.running.tokens.RevokeToken(request, metadata=ADMIN, timeout=SECONDS)
    )
    assert (refused.reason, refused.fields) == ("INVALID_REQUEST", ["token_id"])


def test_a_principal_says_whether_evidence_stood_behind_its_token(workspace: Workspace) -> None:
    workspace.admit()
    unproven = workspace.register().auth_token
    assert not workspace.validate(unproven).principal.evidence_backed
    rotated = Secret("a token of another make")
    workspace.register(unproven, token_sha256=sha256_hex(rotated))
    assert not workspace.validate(rotated.reveal()).principal.evidence_backed
    # Asked once more, when all of them are in daily use.
    assert not workspace.validate(rotated.reveal()).principal.evidence_backed
    backed = workspace.register(ticket=workspace.launch().bootstrap_ticket).auth_token
    for _ in range(2):
        assert workspace.validate(backed).principal.evidence_backed
    assert workspace.validate(workspace.mint().plaintext).principal.evidence_backed


def test_a_proxy_token_answers_only_where_one_is_asked_for(workspace: Workspace) -> None:
    workspace.admit()
    launch = workspace.launch()
    ticket = Secret(launch.bootstrap_ticket)
    proxy = derive_proxy_token(ticket, workspace.workspace_id, 1).reveal()

    def ask(kind: Any = token_pb2.TOKEN_KIND_PROXY) -> Any:
        return workspace.validate(proxy, workspace_id=workspace.workspace_id, required_kind=kind)

    assert ask().rejection.reason == tokens.REJECTION_REASON_TOKEN_INVALID
    box = workspace.register(ticket=launch.bootstrap_ticket).auth_token
    for _ in range(2):
        principal = ask().principal
        assert (principal.kind, principal.incarnation) == (token_pb2.TOKEN_KIND_PROXY, 1)
    for kind in (None, token_pb2.TOKEN_KIND_INSTANCE, token_pb2.TOKEN_KIND_API):
        assert ask(kind).rejection.reason == tokens.REJECTION_REASON_TOKEN_KIND
    # It is a caller of nothing, and no evidence.
    assert failed(lambda: workspace.heartbeat(proxy)).reason == "BEARER_REJECTED"
    assert failed(lambda: workspace.register(proxy)).reason == "BEARER_REJECTED"
    workspace.deregister(box)
    assert ask().rejection.reason == tokens.REJECTION_REASON_TOKEN_INVALID


def test_watchers_are_told_what_changed_and_where_to_go_on(workspace: Workspace) -> None:
    def look(after: int) -> Any:
        request = workspaces.ListRegistrationsRequest(changed_after=after)
        return workspace.running.workspaces.ListRegistrations(
            request, metadata=LAUNCHER, timeout=SECONDS
        )

    before = look(0).revision
    workspace.admit()
    first = look(before)
    assert workspace.workspace_id in [each.workspace_id for each in first.registrations]
    launch = workspace.launch()
    (again,) = [
        each
        for each in look(first.revision).registrations
        if each.workspace_id == workspace.workspace_id
    ]
    assert again.ticket_state == workspaces.TICKET_STATE_OUTSTANDING
    looks = again.relaunch_check_time.ToDatetime()
    assert looks >= launch.ticket_expire_time.ToDatetime()
