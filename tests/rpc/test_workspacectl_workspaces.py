"""`workspaces`: the spec goes in as it was given, the first token comes out once."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct

from agentworkspace.core.token_format import TokenKind, new_token
from agentworkspace.provision.v1 import error_reason_pb2, resolution_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as messages
from agentworkspace.rpc.errors import RpcFailure
from tests.rpc.workspacectl_pair import WORKSPACE, Pair, at, running_pair

FIRST_TOKEN = new_token(TokenKind.API).reveal()
KEY = "sk-ant-the-customers-own"
STORED = workspace_pb2.Workspace(
    id=WORKSPACE,
    tenant_id="acme",
    name="scribe",
    runtime="claude-code",
    model="opus",
    status=workspace_pb2.WORKSPACE_STATUS_PENDING,
    create_time=at("2026-01-02T03:04:05Z"),
)
BYOK = resolution_pb2.Resolution(
    workspace_id=WORKSPACE, resolved_mode="byok", source="derived_provider"
)
CREATED = messages.CreateWorkspaceResponse(workspace=STORED, billing=BYOK, auth_token=FIRST_TOKEN)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as found:
        found.provision.on("CreateWorkspace", CREATED)
        yield found


def test_create_sends_spec_file_flags_and_secrets(pair: Pair, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text('{"name": "draft", "tier": 2, "compute": {"cpu": 4}, "requiredEnv": ["A"]}')
    secrets = json.dumps({"ANTHROPIC_API_KEY": KEY}).encode()

    result = pair.run(
        *("workspaces", "create", "--tenant", "acme", "--spec", str(spec), "--name", "scribe"),
        *("--required-env", "B", "--secrets-file", "-", "--request-id", "r-1"),
        *("--secret-provider", "ANTHROPIC_API_KEY=minimax"),
        stdin=secrets,
    )

    compute = Struct()
    compute.update({"cpu": 4})
    assert pair.provision.only(messages.CreateWorkspaceRequest) == messages.CreateWorkspaceRequest(
        request_id="r-1",
        tenant_id="acme",
        workspace=workspace_pb2.Workspace(
            name="scribe", tier=2, compute=compute, required_env=["B"]
        ),
        secrets={"ANTHROPIC_API_KEY": KEY},
        secret_providers={"ANTHROPIC_API_KEY": "minimax"},
    )
    assert KEY not in result.out + result.err


def test_o_name_prints_what_was_created_and_not_what_stands_beside_it(
    pair: Pair, tmp_path: Path
) -> None:
    create = ("workspaces", "create", "--tenant", "acme", "--out", str(tmp_path / "token"))

    assert pair.run(*create, "-o", "name").out == f"{WORKSPACE}\n"


@pytest.mark.parametrize("said", ["minimax", "=minimax", "ANTHROPIC_API_KEY="])
def test_whose_a_secret_is_is_said_by_its_name(pair: Pair, said: str) -> None:
    result = pair.run("workspaces", "create", "--tenant", "acme", "--secret-provider", said)

    assert result.code == 2
    assert "--secret-provider wants NAME=PROVIDER" in result.err


def test_create_shows_workspace_payer_and_the_first_token_once(pair: Pair) -> None:
    result = pair.run("workspaces", "create", "--tenant", "acme", "--name", "scribe")

    assert result.code == 0
    assert f"id {WORKSPACE}" in result.lines
    assert "status PENDING" in result.lines
    assert "resolved mode byok" in result.lines
    assert result.out.count(FIRST_TOKEN) == 1
    assert "only time" in result.err


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_the_first_token_goes_to_a_file_when_asked(
    pair: Pair, tmp_path: Path, form: tuple[str, ...]
) -> None:
    out = tmp_path / "first.token"

    result = pair.run("workspaces", "create", "--tenant", "acme", "--out", str(out), *form)

    assert out.read_text() == FIRST_TOKEN + "\n"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert FIRST_TOKEN not in result.out + result.err


def test_a_workspace_without_its_first_token_is_a_success_that_says_why(pair: Pair) -> None:
    response = messages.CreateWorkspaceResponse(
        workspace=STORED, auth_token_error="REGISTRY_UNAVAILABLE: it did not answer"
    )
    pair.provision.on("CreateWorkspace", response)

    result = pair.run("workspaces", "create", "--tenant", "acme")

    assert result.code == 0
    assert "no token in this answer: REGISTRY_UNAVAILABLE: it did not answer" in result.err


@pytest.mark.parametrize(
    ("option", "content", "complaint"),
    [
        ("--secrets-file", '{"A": "very-secret", }', "is not JSON: line 1 column"),
        ("--secrets-file", '["very-secret"]', "does not hold a JSON object"),
        ("--secrets-file", '{"A": {"very-secret": 1}}', "every secret's value must be text"),
        ("--spec", '{"modle": "opus"}', "modle"),
        ("--spec", '{"tier": "many"}', "tier"),
    ],
)
def test_an_unusable_file_is_exit_code_2_without_its_content(
    pair: Pair, tmp_path: Path, option: str, content: str, complaint: str
) -> None:
    path = tmp_path / "given.json"
    path.write_text(content)

    result = pair.run("workspaces", "create", "--tenant", "acme", option, str(path))

    assert result.code == 2
    assert complaint in result.err
    assert "very-secret" not in result.err
    assert pair.provision.asked == []


def test_update_changes_what_was_named_and_nothing_else(pair: Pair, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text('{"parentId": ""}')
    pair.provision.on("UpdateWorkspace", messages.UpdateWorkspaceResponse(workspace=STORED))

    pair.run(
        *("workspaces", "update", WORKSPACE, "--model", "opus", "--spec", str(spec)),
        *("--clear", "billing_mode_override", "--etag", "7", "--request-id", "r-2"),
    )

    request = pair.provision.only(messages.UpdateWorkspaceRequest)
    assert list(request.update_mask.paths) == ["billing_mode_override", "model", "parent_id"]
    assert request.workspace == workspace_pb2.Workspace(model="opus")
    assert (request.etag, request.request_id) == ("7", "r-2")


def test_update_shows_what_the_next_launch_would_refuse(pair: Pair) -> None:
    billing = resolution_pb2.Resolution(
        resolved_mode="byok",
        refusal=error_reason_pb2.ERROR_REASON_MISSING_BYOK_CREDENTIAL,
        refusal_message="add ANTHROPIC_API_KEY",
    )
    warning = resolution_pb2.Warning(code="WOULD_REFUSE", message="the next launch is refused")
    pair.provision.on(
        "UpdateWorkspace",
        messages.UpdateWorkspaceResponse(workspace=STORED, billing=billing, warnings=[warning]),
    )

    result = pair.run("workspaces", "update", WORKSPACE, "--model", "opus")

    assert "refusal MISSING_BYOK_CREDENTIAL" in result.lines
    assert "refusal message add ANTHROPIC_API_KEY" in result.lines
    assert "WOULD_REFUSE the next launch is refused" in result.lines


def test_get_shows_what_went_wrong_last(pair: Pair) -> None:
    stored = workspace_pb2.Workspace()
    stored.CopyFrom(STORED)
    stored.last_error.code = "ERROR_REASON_MODEL_REQUIRED"
    stored.last_error.incarnation = 3
    pair.provision.on("GetWorkspace", messages.GetWorkspaceResponse(workspace=stored))

    result = pair.run("workspaces", "get", WORKSPACE)

    assert "last error code ERROR_REASON_MODEL_REQUIRED" in result.lines
    assert "last error incarnation 3" in result.lines
    assert "admitted no" in result.lines
    assert not any(line.startswith("needs launch") for line in result.lines)


def test_list_filters_at_the_service(pair: Pair) -> None:
    pair.provision.on("ListWorkspaces", messages.ListWorkspacesResponse(workspaces=[STORED]))

    result = pair.run(
        *("workspaces", "list", "--tenant", "acme", "--status", "pending"),
        *("--needs-launch", "--show-removed"),
    )

    assert result.lines[1].startswith("6b2f3c1e-52c4 scribe acme PENDING 0 - -")
    assert pair.provision.only(messages.ListWorkspacesRequest) == messages.ListWorkspacesRequest(
        tenant_id="acme",
        status=workspace_pb2.WORKSPACE_STATUS_PENDING,
        needs_launch=True,
        show_removed=True,
        page_size=50,
    )


def test_remove_shows_what_is_left(pair: Pair) -> None:
    removed = workspace_pb2.Workspace(id=WORKSPACE, status=workspace_pb2.WORKSPACE_STATUS_REMOVED)
    pair.provision.on("RemoveWorkspace", messages.RemoveWorkspaceResponse(workspace=removed))

    assert "status REMOVED" in pair.run("workspaces", "remove", WORKSPACE, "--yes").lines


def page(count: int, next_page_token: str) -> messages.ListWorkspacesResponse:
    return messages.ListWorkspacesResponse(
        workspaces=[STORED] * count, next_page_token=next_page_token
    )


def test_a_list_stops_at_50_and_says_that_there_are_more(pair: Pair) -> None:
    pair.provision.on("ListWorkspaces", page(50, "p2"))

    result = pair.run("workspaces", "list")

    assert len(result.lines) == 51
    assert result.err == "note: there are more: --limit N or --all\n"


def test_a_limit_beyond_a_page_is_reached_page_by_page(pair: Pair) -> None:
    pair.provision.on("ListWorkspaces", page(200, "p2"), page(50, "p3"))

    result = pair.run("workspaces", "list", "--limit", "250", "--json")

    asked = [(each.request.page_size, each.request.page_token) for each in pair.provision.asked]
    assert asked == [(200, ""), (50, "p2")]
    assert len(result.document["workspaces"]) == 250
    assert result.document["nextPageToken"] == "p3"


def test_all_means_until_the_last_page(pair: Pair) -> None:
    pair.provision.on("ListWorkspaces", page(200, "p2"), page(7, "p3"), page(1, ""))

    result = pair.run("workspaces", "list", "--all", "--json")

    assert len(result.document["workspaces"]) == 208
    assert result.document["nextPageToken"] == ""
    assert result.err == ""


def test_a_failure_on_a_later_page_shows_no_half_list(pair: Pair) -> None:
    lost = RpcFailure(grpc.StatusCode.INTERNAL, "d", "ERROR_REASON_INTERNAL", "a fault")
    pair.provision.on("ListWorkspaces", page(200, "p2"), lost)

    result = pair.run("workspaces", "list", "--all")

    assert (result.code, result.out) == (1, "")


def test_an_empty_list_says_so(pair: Pair) -> None:
    pair.provision.on("ListWorkspaces", messages.ListWorkspacesResponse())

    assert pair.run("workspaces", "list").lines[-1] == "(none)"
    assert pair.run("workspaces", "list", "--json").document == {
        "workspaces": [],
        "nextPageToken": "",
    }
