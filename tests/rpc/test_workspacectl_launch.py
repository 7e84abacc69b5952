"""`launch` and `provisions`: the environment goes into a file of its owner's, never on screen."""

from __future__ import annotations

import json
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentworkspace.provision.v1 import provision_pb2, resolution_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as messages
from tests.rpc.workspacectl_pair import LAUNCH as LAUNCHED
from tests.rpc.workspacectl_pair import WORKSPACE, Pair, at, running_pair

ENV = {"ANTHROPIC_API_KEY": "sk-ant-very-secret", "ODD": 'it\'s $HOME `x`\n"two"', "A": ""}
PROVISION = provision_pb2.Provision(
    id=LAUNCHED,
    workspace_id=WORKSPACE,
    incarnation=4,
    state=provision_pb2.PROVISION_STATE_ENV_DELIVERED,
    reason=provision_pb2.PROVISION_REASON_RESTART,
    billing=resolution_pb2.Resolution(resolved_mode="byok"),
    manifest=[
        provision_pb2.ManifestEntry(
            name="ANTHROPIC_API_KEY", origin="workspace secret", fingerprint="f00d"
        )
    ],
    lease_expire_time=at("2026-01-02T03:19:05Z"),
)
DELIVERED = messages.ProvisionWorkspaceResponse(provision=PROVISION, env=ENV)
LAUNCH = ("launch", WORKSPACE, "--reason", "auto-restart", "--request-id", "r-1")


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as found:
        found.provision.on("ProvisionWorkspace", DELIVERED)
        yield found


def test_launch_asks_with_reason_and_request_id(pair: Pair, tmp_path: Path) -> None:
    pair.run(*LAUNCH, "--env-file", str(tmp_path / "box.env"))

    request = pair.provision.only(messages.ProvisionWorkspaceRequest)
    assert request == messages.ProvisionWorkspaceRequest(
        workspace_id=WORKSPACE,
        reason=provision_pb2.PROVISION_REASON_AUTO_RESTART,
        request_id="r-1",
    )


def test_without_a_file_nothing_is_launched_and_no_box_is_evicted(pair: Pair) -> None:
    result = pair.run(*LAUNCH)

    assert result.code == 2
    assert "--env-file FILE" in result.err
    assert pair.provision.asked == []


def test_only_names_are_shown(pair: Pair, tmp_path: Path) -> None:
    result = pair.run(*LAUNCH, "--env-file", str(tmp_path / "box.env"))

    assert result.code == 0
    assert "ANTHROPIC_API_KEY workspace secret" in result.lines
    assert "very-secret" not in result.out + result.err


def test_as_json_only_names_are_shown(pair: Pair, tmp_path: Path) -> None:
    result = pair.run(*LAUNCH, "--json", "--env-file", str(tmp_path / "box.env"))

    assert result.document["envNames"] == ["A", "ANTHROPIC_API_KEY", "ODD"]
    assert result.document["env"] == {}
    assert result.document["provision"]["state"] == "PROVISION_STATE_ENV_DELIVERED"
    assert "very-secret" not in result.out + result.err


def test_the_file_is_private_and_a_shell_reads_every_value_back(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "box.env"

    result = pair.run(*LAUNCH, "--env-file", str(path))

    assert result.code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "very-secret" not in result.out + result.err
    script = f"set -a; . {shlex.quote(str(path))}; exec env -0"
    seen = subprocess.run(["sh", "-c", script], capture_output=True, check=True, env={})
    read_back = dict(line.split("=", 1) for line in seen.stdout.decode().split("\0") if line)
    assert ENV.items() <= read_back.items()


def test_the_file_may_be_json(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "box.json"

    pair.run(*LAUNCH, "--env-file", str(path), "--env-format", "json")

    assert json.loads(path.read_text()) == ENV


def test_the_file_may_be_for_docker(pair: Pair, tmp_path: Path) -> None:
    env = {"B": "it's $plain", "A": "1"}
    response = messages.ProvisionWorkspaceResponse(provision=PROVISION, env=env)
    pair.provision.on("ProvisionWorkspace", response)
    path = tmp_path / "box.env"

    pair.run(*LAUNCH, "--env-file", str(path), "--env-format", "docker")

    assert path.read_text() == "A=1\nB=it's $plain\n"


def test_what_docker_cannot_hold_is_said_with_the_way_to_get_it_again(
    pair: Pair, tmp_path: Path
) -> None:
    path = tmp_path / "box.env"

    result = pair.run(*LAUNCH, "--env-file", str(path), "--env-format", "docker")

    assert result.code == 2
    assert "ODD has line breaks" in result.err
    assert "the same command with --request-id r-1 gets it again" in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_a_shell_would_run_is_never_written(pair: Pair, tmp_path: Path) -> None:
    response = messages.ProvisionWorkspaceResponse(provision=PROVISION, env={"A;reboot": "1"})
    pair.provision.on("ProvisionWorkspace", response)

    result = pair.run(*LAUNCH, "--env-file", str(tmp_path / "box.env"))

    assert result.code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["joined", "skipped"])
def test_whoever_gets_no_environment_must_not_start_from_an_older_file(
    pair: Pair, tmp_path: Path, word: str
) -> None:
    response = messages.ProvisionWorkspaceResponse(
        provision=PROVISION, joined=word == "joined", skipped=word == "skipped"
    )
    pair.provision.on("ProvisionWorkspace", response)
    path = tmp_path / "box.env"
    path.write_text("OLD=1\n")

    result = pair.run(*LAUNCH, "--env-file", str(path))

    assert result.code == 1
    assert result.err.startswith(f"note: {word}: ")
    assert path.read_text() == "OLD=1\n"


def test_validate_only_decides_and_keeps_nothing(pair: Pair) -> None:
    response = messages.ProvisionWorkspaceResponse(provision=PROVISION)
    pair.provision.on("ProvisionWorkspace", response)

    result = pair.run(*LAUNCH, "--validate-only")

    assert (result.code, result.err) == (0, "")
    assert pair.provision.only(messages.ProvisionWorkspaceRequest).validate_only


def test_provisions_list_filters_at_the_service(pair: Pair) -> None:
    pair.provision.on("ListProvisions", messages.ListProvisionsResponse(provisions=[PROVISION]))

    result = pair.run(
        *("provisions", "list", "--workspace", WORKSPACE, "--tenant", "acme"),
        *("--state", "env-delivered", "--limit", "7"),
    )

    assert result.lines[1] == "1a0bce11-0000 6b2f3c1e-52c4 4 ENV_DELIVERED RESTART byok -"
    assert pair.provision.only(messages.ListProvisionsRequest) == messages.ListProvisionsRequest(
        workspace_id=WORKSPACE,
        tenant_id="acme",
        state=provision_pb2.PROVISION_STATE_ENV_DELIVERED,
        page_size=7,
    )


def test_provisions_get_shows_the_manifest(pair: Pair) -> None:
    pair.provision.on("GetProvision", messages.GetProvisionResponse(provision=PROVISION))

    result = pair.run("provisions", "get", LAUNCHED)

    assert "lease expire time 2026-01-02 03:19:05Z" in result.lines
    assert "resolved mode byok" in result.lines
    assert result.lines[-1] == "ANTHROPIC_API_KEY workspace secret f00d"


def test_provisions_complete_reports_a_failure_with_its_error(pair: Pair) -> None:
    response = messages.CompleteProvisionResponse(rerun_required=True, provision=PROVISION)
    pair.provision.on("CompleteProvision", response)

    result = pair.run(
        *("provisions", "complete", LAUNCHED, "--outcome", "failed"),
        *("--error-code", "NO_CAPACITY", "--error-message", "no node has room"),
    )

    assert result.err == "note: the inputs changed since: launch again\n"
    request = pair.provision.only(messages.CompleteProvisionRequest)
    assert request == messages.CompleteProvisionRequest(
        provision_id=LAUNCHED,
        outcome=provision_pb2.PROVISION_OUTCOME_FAILED,
        error=provision_pb2.ProvisionError(code="NO_CAPACITY", message="no node has room"),
    )


def test_provisions_extend_shows_the_new_lease(pair: Pair) -> None:
    pair.provision.on("ExtendProvision", messages.ExtendProvisionResponse(provision=PROVISION))

    result = pair.run("provisions", "extend", LAUNCHED)

    assert "lease expire time 2026-01-02 03:19:05Z" in result.lines
    assert pair.provision.only(messages.ExtendProvisionRequest).provision_id == LAUNCHED
