"""Tokens over real RPC: minted, replayed, rotated, checked, revoked with a receipt."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from agentworkspace.registry.v1 import audit_service_pb2 as audit
from agentworkspace.registry.v1 import registration_service_pb2 as box
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as tokens
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as workspaces
from tests.rpc.registry_requests import failed
from tests.rpc.registry_server import ADMIN, LAUNCHER, VERIFIER, Running, bearer, serving
from tests.rpc.registry_story import SECONDS, Workspace, new_id, sha256

StatusCode = grpc.StatusCode


@pytest.fixture(scope="module")
def running(
    registry_database_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with serving(registry_database_of_module, tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def workspace(running: Running) -> Workspace:
    made = Workspace(running)
    made.admit()
    return made


def span(**parts: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(**parts))
    return duration


def test_a_minted_token_is_shown_once_and_accepted_with_its_scopes(workspace: Workspace) -> None:
    issued = workspace.mint(label="ci", scopes=["b:read", "a:write", "b:read"], ttl=span(hours=1))
    assert issued.delivery == token_pb2.SECRET_DELIVERY_ENCLOSED
    principal = workspace.validate(issued.plaintext).principal
    assert principal.workspace_id == workspace.workspace_id
    assert principal.tenant_id == "acme"
    assert list(principal.scopes) == ["a:write", "b:read"]
    assert principal.HasField("expire_time")
    (listed,) = workspace.tokens()
    assert listed.label == "ci"
    assert listed.prefix == issued.plaintext[4:12]
    assert issued.plaintext not in str(listed)
    assert listed.HasField("first_use_time")


def test_a_replayed_mint_replaces_the_lost_secret_until_it_was_used(workspace: Workspace) -> None:
    request_id = new_id()
    lost = workspace.mint(request_id=request_id)
    found = workspace.mint(request_id=request_id)
    assert found.plaintext
    assert found.plaintext != lost.plaintext
    assert not workspace.accepts(lost.plaintext)
    assert workspace.accepts(found.plaintext)
    late = workspace.mint(request_id=request_id)
    assert late.plaintext == ""
    assert late.delivery == token_pb2.SECRET_DELIVERY_ALREADY_DELIVERED


def test_a_request_id_belongs_to_its_parameters(workspace: Workspace) -> None:
    request_id = new_id()
    workspace.mint(request_id=request_id, label="one")
    reused = failed(lambda: workspace.mint(request_id=request_id, label="two"))
    assert (reused.code, reused.reason) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


def test_a_caller_may_bring_a_secret_that_the_registry_never_sees(workspace: Workspace) -> None:
    issued = workspace.mint(token_sha256=sha256("of another format"))
    assert (issued.plaintext, issued.delivery) == ("", token_pb2.SECRET_DELIVERY_CALLER_MADE)
    assert workspace.accepts("of another format")


def test_many_mints_at_once_are_each_answered(running: Running) -> None:
    each = [Workspace(running) for _ in range(4)]
    for one in each:
        one.admit()
    with ThreadPoolExecutor(16) as threads:
        minted = list(threads.map(lambda one: one.mint().plaintext, each * 16))
    assert len(set(minted)) == 64
    assert all(one.accepts(text) for one, text in zip(each * 16, minted, strict=True))


def test_one_bad_mint_does_not_fail_its_neighbours(running: Running, workspace: Workspace) -> None:
    stranger = Workspace(running)

    def outcome(one: Workspace) -> str:
        return "minted" if one is workspace and one.mint() else failed(one.mint).reason

    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(outcome, [workspace, stranger] * 8))
    assert found == ["minted", "WORKSPACE_UNKNOWN"] * 8


def test_an_instance_token_is_break_glass(workspace: Workspace) -> None:
    issued = workspace.mint(kind=token_pb2.TOKEN_KIND_INSTANCE)
    again = failed(lambda: workspace.mint(kind=token_pb2.TOKEN_KIND_INSTANCE))
    assert (again.code, again.reason) == (StatusCode.FAILED_PRECONDITION, "INSTANCE_TOKEN_EXISTS")
    assert workspace.heartbeat(issued.plaintext).next_action == box.NEXT_ACTION_NONE


def test_a_ticket_is_never_minted(workspace: Workspace) -> None:
    refused = failed(lambda: workspace.mint(kind=token_pb2.TOKEN_KIND_TICKET))
    assert (refused.reason, refused.fields) == ("INVALID_REQUEST", ["kind"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label", "x" * 201),
        ("scopes", ["Upper"]),
        ("scopes", ["s"] * 33),
        ("scopes", [""]),
        ("ttl", Duration(seconds=0)),
        ("ttl", Duration(seconds=-5)),
        ("ttl", Duration(seconds=2**62)),
        ("ttl", Duration(seconds=1, nanos=-1)),
        ("ttl", Duration(seconds=1, nanos=1_000_000_000)),
        ("token_sha256", "A" * 64),
        ("token_sha256", "a" * 63),
        ("token_sha256", "a" * 64 + "\n"),
        ("request_id", "{12345678-1234-1234-1234-123456789abc}"),
    ],
)
def test_a_field_out_of_range_is_named(workspace: Workspace, field: str, value: Any) -> None:
    refused = failed(lambda: workspace.mint(**{field: value}))
    assert refused.reason == "INVALID_REQUEST"
    assert {each.partition("[")[0] for each in refused.fields} == {field}


def test_a_rotated_token_hands_over_after_its_overlap_began(workspace: Workspace) -> None:
    old = workspace.mint(label="gateway", scopes=["read"])
    request = tokens.RotateTokenRequest(
        workspace_id=workspace.workspace_id, token_id=old.token.token_id, overlap=span(hours=1)
    )
    new = workspace.running.tokens.RotateToken(request, metadata=ADMIN, timeout=SECONDS).issued
    assert (new.token.label, list(new.token.scopes)) == ("gateway", ["read"])
    assert workspace.accepts(old.plaintext)
    assert workspace.accepts(new.plaintext)


def test_an_api_token_rotates_itself_and_the_old_one_dies(workspace: Workspace) -> None:
    old = workspace.mint()
    request = tokens.RotateTokenRequest(
        workspace_id=workspace.workspace_id, token_id=old.token.token_id
    )
    new = workspace.running.tokens.RotateToken(
        request, metadata=bearer(old.plaintext), timeout=SECONDS
    ).issued
    assert workspace.accepts(new.plaintext)
    assert not workspace.accepts(old.plaintext)


def test_a_box_rotates_by_register_only(workspace: Workspace) -> None:
    token = workspace.register()
    request = tokens.RotateTokenRequest(
        workspace_id=workspace.workspace_id, token_id=token.token.token_id
    )
    refused = failed(
        lambda: workspace.running.tokens.RotateToken(request, metadata=ADMIN, timeout=SECONDS)
    )
    assert (refused.code, refused.reason) == (StatusCode.FAILED_PRECONDITION, "TOKEN_KIND")


def test_a_check_says_what_is_missing(workspace: Workspace) -> None:
    token = workspace.mint(scopes=["read"]).plaintext
    here = {"workspace_id": workspace.workspace_id}
    kind = workspace.validate(token, **here, required_kind=token_pb2.TOKEN_KIND_INSTANCE)
    assert kind.rejection.reason == tokens.REJECTION_REASON_TOKEN_KIND
    scope = workspace.validate(token, **here, required_scopes=["read", "write"])
    assert scope.rejection.reason == tokens.REJECTION_REASON_TOKEN_SCOPE
    assert workspace.validate(token, any_workspace=True).HasField("principal")


@pytest.mark.parametrize("text", ["", "x", "awa_", "awa_" + "A" * 49, "\u00fc", "x" * 100_000])
def test_a_token_that_nobody_issued_is_an_answer_and_no_error(
    workspace: Workspace, text: str
) -> None:
    answer = workspace.validate(text, any_workspace=True)
    assert answer.rejection.reason == tokens.REJECTION_REASON_TOKEN_INVALID


def test_a_token_is_invalid_for_every_other_workspace(running: Running) -> None:
    one, two = Workspace(running), Workspace(running)
    one.admit()
    two.admit()
    assert not two.accepts(one.mint().plaintext)


def test_an_audience_must_be_named(workspace: Workspace) -> None:
    for request in (
        tokens.ValidateTokenRequest(token="x"),
        tokens.ValidateTokenRequest(token="x", any_workspace=False),
    ):
        refused = failed(
            lambda request=request: workspace.running.tokens.ValidateToken(  # type: ignore[misc]
                request, metadata=VERIFIER, timeout=SECONDS
            )
        )
        assert (refused.reason, refused.fields) == ("INVALID_REQUEST", ["workspace_id"])


def test_a_batch_is_answered_in_order(workspace: Workspace) -> None:
    good = workspace.mint().plaintext
    asked = [good, "bad", good, ""]
    request = tokens.BatchValidateTokensRequest(
        requests=[tokens.ValidateTokenRequest(token=each, any_workspace=True) for each in asked]
    )
    answer = workspace.running.tokens.BatchValidateTokens(
        request, metadata=VERIFIER, timeout=SECONDS
    )
    assert [each.WhichOneof("result") for each in answer.results] == [
        "principal",
        "rejection",
        "principal",
        "rejection",
    ]


def test_a_batch_of_more_than_a_thousand_is_refused(running: Running) -> None:
    one = tokens.ValidateTokenRequest(token="x", any_workspace=True)
    request = tokens.BatchValidateTokensRequest(requests=[one] * 1001)
    refused = failed(
        lambda: running.tokens.BatchValidateTokens(request, metadata=VERIFIER, timeout=SECONDS)
    )
    assert (refused.reason, refused.fields) == ("INVALID_REQUEST", ["requests"])


def test_a_revoked_token_is_accepted_nowhere_from_then_on(workspace: Workspace) -> None:
    issued = workspace.mint()
    assert workspace.accepts(issued.plaintext)
    first = workspace.revoke(issued.token.token_id, note="left the company")
    assert not workspace.accepts(issued.plaintext)
    again = workspace.revoke(issued.token.token_id)
    assert (first.already_revoked, again.already_revoked) == (False, True)
    assert workspace.validate(issued.plaintext).revision >= first.revision
    (listed,) = workspace.tokens(include_revoked=True)
    assert listed.revoke_reason == token_pb2.REVOKE_REASON_OPERATOR
    assert listed.revoke_note == "left the company"


def test_a_token_of_nobody_cannot_be_revoked(workspace: Workspace) -> None:
    refused = failed(lambda: workspace.revoke(new_id()))
    assert (refused.code, refused.reason) == (StatusCode.NOT_FOUND, "TOKEN_UNKNOWN")


def test_a_token_says_whom_it_speaks_for(workspace: Workspace) -> None:
    token = workspace.mint(scopes=["read"]).plaintext
    answer = workspace.running.boxes.WhoAmI(
        box.WhoAmIRequest(), metadata=bearer(token), timeout=SECONDS
    )
    assert answer.principal.workspace_id == workspace.workspace_id
    assert list(answer.principal.scopes) == ["read"]


def test_diagnose_explains_a_workspace(workspace: Workspace) -> None:
    workspace.launch()
    request = workspaces.DiagnoseRequest(workspace_id=workspace.workspace_id)
    found = workspace.running.workspaces.Diagnose(request, metadata=LAUNCHER, timeout=SECONDS)
    assert found.ticket.incarnation == 1
    assert found.forecasts
    for forecast in found.forecasts:
        admitted = forecast.outcome != box.REGISTER_OUTCOME_UNSPECIFIED
        assert admitted == (forecast.reason == 0)
        assert forecast.explanation


def test_the_audit_names_caller_method_and_correlation(workspace: Workspace) -> None:
    request = tokens.MintTokenRequest(
        workspace_id=workspace.workspace_id, kind=token_pb2.TOKEN_KIND_API
    )
    workspace.running.tokens.MintToken(
        request, metadata=(*ADMIN, ("agentworkspace-correlation-id", "story-7")), timeout=SECONDS
    )
    events = workspace.running.audit.ListAuditEvents(
        audit.ListAuditEventsRequest(workspace_id=workspace.workspace_id, page_size=1),
        metadata=ADMIN,
        timeout=SECONDS,
    ).events
    assert events[0].actor == "operator"
    assert events[0].method == "/agentworkspace.registry.v1.TokenService/MintToken"
    assert events[0].correlation_id == "story-7"


def test_a_mint_tells_the_correlation_that_its_audit_row_has(workspace: Workspace) -> None:
    """Though its success has no line in the log."""
    request = tokens.MintTokenRequest(
        workspace_id=workspace.workspace_id, kind=token_pb2.TOKEN_KIND_API
    )
    _, call = workspace.running.tokens.MintToken.with_call(request, metadata=ADMIN, timeout=SECONDS)
    events = workspace.running.audit.ListAuditEvents(
        audit.ListAuditEventsRequest(workspace_id=workspace.workspace_id, page_size=1),
        metadata=ADMIN,
        timeout=SECONDS,
    ).events
    told = dict(call.trailing_metadata())["agentworkspace-correlation-id"]
    assert told == events[0].correlation_id != ""
