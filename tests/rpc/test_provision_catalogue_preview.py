"""PreviewCatalogue on the wire: a stream from `begun` to `summary`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from agentworkspace.provision.v1 import (
    billing_service_pb2,
    catalogue_service_pb2,
    error_reason_pb2,
    workspace_pb2,
)
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.rpc.errors import failure_from
from tests.domain.provision_launches import CATALOGUE_TEXT, HAIKU_AT_THE_PLATFORM, edited
from tests.rpc.provision_server import ADMIN, LAUNCHER
from tests.rpc.registry_server import secret_of
from tests.rpc.workspacectl_pair import Result, run
from tests.services import Pair


@pytest.fixture(scope="module")
def workspaces(pair: Pair) -> dict[str, str]:
    """Ids by model."""
    return {model: create(pair, model) for model in ("opus", "haiku")}


def create(pair: Pair, model: str) -> str:
    answer = pair.provision.workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(
            tenant_id="acme",
            workspace=workspace_pb2.Workspace(name=model, model=model),
            secrets={"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-of-the-tenant"},
        ),
        metadata=LAUNCHER,
    )
    return str(answer.workspace.id)


def preview(pair: Pair, text: str, credential: Any = ADMIN) -> list[Any]:
    request = catalogue_service_pb2.PreviewCatalogueRequest(text=text)
    return list(pair.provision.catalogue.PreviewCatalogue(request, metadata=credential, timeout=20))


def test_a_catalogue_that_moves_a_bill_names_whose(pair: Pair, workspaces: dict[str, str]) -> None:
    pieces = preview(pair, HAIKU_AT_THE_PLATFORM)
    assert [each.WhichOneof("piece") for each in pieces] == [
        "begun", "changed", "progress", "summary",
    ]  # fmt: skip
    begun, changed, progress, summary = (getattr(p, p.WhichOneof("piece")) for p in pieces)
    assert begun.workspace_count == 2
    assert begun.current_version != begun.proposed_version
    assert list(begun.refused_for) == []
    assert (changed.workspace_id, changed.tenant_id) == (workspaces["haiku"], "acme")
    assert changed.runtime == "claude-code"
    assert changed.payer_changed
    assert (changed.before.payer, changed.after.payer) == ("byok", "platform_managed")
    assert (changed.before.provider, changed.after.provider) == ("anthropic-oauth", "platform")
    assert changed.after.endpoint == "http://127.0.0.1:9/anthropic"
    assert changed.before.credential == "CLAUDE_CODE_OAUTH_TOKEN"
    assert changed.after.credential == "MOLECULE_LLM_USAGE_TOKEN"
    assert changed.after.refusal == error_reason_pb2.ERROR_REASON_UNSPECIFIED
    assert list(changed.aspects) == [
        catalogue_service_pb2.CATALOGUE_ASPECT_PAYER,
        catalogue_service_pb2.CATALOGUE_ASPECT_PROVIDER,
        catalogue_service_pb2.CATALOGUE_ASPECT_ENDPOINT,
        catalogue_service_pb2.CATALOGUE_ASPECT_CREDENTIAL,
    ]
    assert progress.examined_count == 2
    assert (summary.examined_count, summary.changed_count, summary.payer_changed_count) == (2, 1, 1)
    assert "sk-ant" not in str(pieces)


def test_its_digest_is_the_one_that_a_catalogue_in_force_reports(
    pair: Pair, workspaces: dict[str, str]
) -> None:
    begun = preview(pair, CATALOGUE_TEXT)[0].begun
    resolved = pair.provision.billing.ResolveBillingMode(
        billing_service_pb2.ResolveBillingModeRequest(workspace_id=workspaces["opus"]),
        metadata=LAUNCHER,
    )
    assert begun.proposed_version == resolved.resolution.catalogue_version
    assert begun.current_version == resolved.resolution.catalogue_version


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be 1 to 1048576 bytes, a whole catalogue"),
        ("#" * (1024 * 1024 + 1), "must be 1 to 1048576 bytes, a whole catalogue"),
        ("schema: [", "text:1: not valid YAML"),
    ],
    ids=["empty", "too long", "no YAML"],
)
def test_a_text_that_is_no_catalogue_is_refused(pair: Pair, text: str, said: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        preview(pair, text)
    failure = failure_from(caught.value)
    assert failure.reason == "ERROR_REASON_INVALID_REQUEST"
    assert failure.violations[0].field == "text"
    assert said in failure.violations[0].description


def test_a_launcher_may_not_ask(pair: Pair) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        preview(pair, CATALOGUE_TEXT, LAUNCHER)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


def diff(pair: Pair, directory: Path, text: str, *words: str) -> Result:
    (directory / "token").write_text(secret_of("operator"))
    (directory / "new.yaml").write_text(text)
    where = ("--provision", pair.provision.address, "--token-file", str(directory / "token"))
    return run(*where, *words, "catalogue", "diff", str(directory / "new.yaml"))


def test_the_operators_diff_exits_3_where_a_payer_would_change(
    pair: Pair, workspaces: dict[str, str], tmp_path: Path
) -> None:
    result = diff(pair, tmp_path, HAIKU_AT_THE_PLATFORM, "-o", "wide")
    assert result.code == 3
    (row,) = [line for line in result.lines if workspaces["haiku"] in line]
    assert row == (
        f"{workspaces['haiku']} acme claude-code byok → platform_managed"
        " anthropic-oauth → platform - - → http://127.0.0.1:9/anthropic"
        " CLAUDE_CODE_OAUTH_TOKEN → MOLECULE_LLM_USAGE_TOKEN haiku"
    )
    assert workspaces["opus"] not in result.out
    assert "1 workspace(s) would be paid for by somebody else" in result.err


def test_the_operators_diff_exits_0_where_none_would(
    pair: Pair, workspaces: dict[str, str], tmp_path: Path
) -> None:
    result = diff(pair, tmp_path, CATALOGUE_TEXT, "--json")
    assert result.code == 0
    # The service in this very process logs to the same output.
    found = json.loads(result.out[result.out.index("\n{") :])
    assert found["changes"] == []
    assert found["summary"]["examinedCount"] == str(len(workspaces))


@pytest.mark.parametrize("form", ["table", "json"])
def test_the_operators_diff_names_file_and_line_of_a_mistake(
    pair: Pair, tmp_path: Path, form: str
) -> None:
    broken = edited(("default_runtime: claude-code", "default_runtime: x"))
    result = diff(pair, tmp_path, broken, "-o", form)
    assert result.code == 1
    where = f"{tmp_path}/new.yaml:7: default_runtime `x` is no runtime"
    assert where in "".join(result.err.split("\n       "))
    assert "text:7" not in result.err


def test_the_operators_diff_calls_a_pipe_standard_input(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(secret_of("operator"))
    where = ("--provision", pair.provision.address, "--token-file", str(tmp_path / "token"))
    result = run(*where, "catalogue", "diff", "-", stdin=b"schema: [\n")
    assert "standard input:2: not valid YAML" in result.err
    empty = run(*where, "catalogue", "diff", "-")
    assert "standard input must be 1 to 1048576 bytes, a whole catalogue" in empty.err
