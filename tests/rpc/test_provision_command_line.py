"""`provision-service`: what an operator types, what comes back, and never a traceback."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agentworkspace.provision.v1 import provision_pb2, secret_service_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.service.command_line import MISCONFIGURED
from agentworkspace.service.outcome import FAILED
from provision_service.__main__ import main
from provision_service.workers.files import SHIPPED_CATALOGUE
from tests.rpc.provision_server import LAUNCHER, environment_of, serving, write_keys
from tests.rpc.registry_server import SERVING
from tests.rpc.vendor_server import until
from tests.services import both, free_address

ROOT = Path(__file__).resolve().parents[2]
SECRET = "sk-ant-oat-command-line-0123456789"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The settings of a deployment, in this process's environment."""
    settings = environment_of(tmp_path, "127.0.0.1:1", {})
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    return settings


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """Write a file and make it that of a setting."""

    def write(name: str, text: str) -> None:
        path = tmp_path / "given"
        path.touch(mode=0o600)
        path.write_text(text)
        monkeypatch.setenv(name, str(path))

    return write


def create(database: str, directory: Path) -> str:
    with serving(database, directory) as running:
        return _created(running.workspaces)


def _created(workspaces: Any) -> str:
    created = workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(
            tenant_id="acme",
            workspace=workspace_pb2.Workspace(name="agent", model="opus"),
            secrets={"CLAUDE_CODE_OAUTH_TOKEN": SECRET},
        ),
        metadata=LAUNCHER,
    )
    return str(created.workspace.id)


def test_check_config_lists_every_setting_and_no_secret(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-config"]) == FAILED
    printed, missing = capsys.readouterr()
    assert f"PROVISION_CREDENTIALS_FILE={environment['PROVISION_CREDENTIALS_FILE']}" in printed
    assert "PLATFORM_LLM_USAGE_TOKEN=set" in printed
    assert environment["PLATFORM_LLM_USAGE_TOKEN"] not in printed
    assert "PROVISION_DATABASE_URL must be set" in missing
    assert main(["check-config", "--embedded"]) == 0


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("PROVISION_CATALOGUE_FILE", "schema: 1\n", "the catalogue has no `providers`"),
        ("PROVISION_TEMPLATES_FILE", "schema: 7\n", ":1: schema 7 is not supported"),
        ("PROVISION_CREDENTIALS_FILE", '{"callers": 3}', ": callers: expected a list"),
        ("PROVISION_CREDENTIALS_FILE", '{"callers": [\n}', ": not JSON: Expecting value: line 2"),
        ("PROVISION_SECRETS_KEYS_FILE", '{"keys": {}}', ": `current` must name"),
        ("PROVISION_SECRETS_KEYS_FILE", '{"keys":\n}', ":2: is not JSON; it must be {"),
        ("PROVISION_REGISTRY_TOKEN_FILE", "", ": must hold one line with the credential"),
        ("PROVISION_REGISTRY_TOKEN_FILE", "two\nlines", ": must hold one line"),
    ],
)
def test_check_config_names_what_is_wrong_in_a_file(
    written: Callable[[str, str], None],
    capsys: pytest.CaptureFixture[str],
    name: str,
    text: str,
    said: str,
) -> None:
    written(name, text)
    assert main(["check-config"]) == FAILED
    refused = capsys.readouterr().err
    assert f"{os.environ[name]}{said}" in refused or name == "PROVISION_CATALOGUE_FILE"
    assert said in refused


@pytest.mark.usefixtures("environment")
def test_a_catalogue_may_not_lose_what_a_stored_workspace_uses(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    written: Callable[[str, str], None],
    provision_database: str,
) -> None:
    create(provision_database, tmp_path)
    monkeypatch.setenv("PROVISION_DATABASE_URL", provision_database)
    assert main(["check-config"]) == 0

    written("PROVISION_CATALOGUE_FILE", _without_opus())
    assert main(["check-config"]) == FAILED
    assert "`opus` is gone from runtime `claude-code`" in capsys.readouterr().err


@pytest.mark.usefixtures("environment")
def test_what_the_last_launch_ran_on_counts_whatever_was_written_down_since(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    written: Callable[[str, str], None],
    registry_database: str,
    provision_database: str,
) -> None:
    with both(registry_database, provision_database, tmp_path) as pair:
        workspaces = pair.provision.workspaces
        workspace_id = _created(workspaces)
        workspaces.ProvisionWorkspace(
            pb.ProvisionWorkspaceRequest(
                workspace_id=workspace_id, reason=provision_pb2.PROVISION_REASON_CREATE
            ),
            metadata=LAUNCHER,
        )
        workspaces.UpdateWorkspace(
            pb.UpdateWorkspaceRequest(
                workspace_id=workspace_id,
                workspace=workspace_pb2.Workspace(model="never-served-by-anybody"),
                update_mask=FieldMask(paths=["model"]),
            ),
            metadata=LAUNCHER,
        )
    monkeypatch.setenv("PROVISION_DATABASE_URL", provision_database)
    assert main(["check-config"]) == 0
    written("PROVISION_CATALOGUE_FILE", _without_opus())
    assert main(["check-config"]) == FAILED


def _without_opus() -> str:
    """The shipped catalogue without the alias, on the menu and in the pattern."""
    lines = SHIPPED_CATALOGUE.read_text().splitlines()
    kept = [line for line in lines if line.strip() != "- opus"]
    text = "\n".join(kept).replace("sonnet|opus|haiku", "sonnet|haiku")
    return text.replace("[sonnet, opus, haiku]", "[sonnet, haiku]")


@pytest.mark.usefixtures("environment")
def test_migrate_and_check_migrations(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], empty_database: str
) -> None:
    monkeypatch.setenv("PROVISION_DATABASE_URL", empty_database)
    assert main(["check-migrations"]) == FAILED
    assert main(["check-migrations", "--wait", "0"]) == FAILED
    assert "run `provision-service migrate`" in capsys.readouterr().err
    assert main(["migrate"]) == 0
    assert main(["check-migrations", "--wait"]) == 0
    assert main(["migrate"]) == 0
    assert main(["check-migrations"]) == 0
    assert "agree" in capsys.readouterr().out


@pytest.mark.usefixtures("environment")
def test_a_database_that_does_not_answer_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROVISION_DATABASE_URL", "postgresql://user:hunter2@127.0.0.1:1/none")
    assert main(["migrate"]) == FAILED
    printed = capsys.readouterr().err
    assert printed.startswith("provision-service: the database refused: connection to server at")
    assert "Connection refused" in printed
    assert "hunter2" not in printed


@pytest.mark.usefixtures("environment")
def test_rekey_shows_its_progress_and_the_old_key_is_not_needed_afterwards(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    provision_database: str,
) -> None:
    old, new = b"o" * 32, b"n" * 32
    write_keys(tmp_path, "old", old=old)
    monkeypatch.setenv("PROVISION_DATABASE_URL", provision_database)
    workspace_id = _create_under_keys_of(tmp_path, provision_database)

    write_keys(tmp_path, "new", old=old, new=new)
    assert main(["rekey"]) == 0
    assert "under new, 0 to go" in capsys.readouterr().out

    write_keys(tmp_path, "new", new=new)
    assert main(["rekey"]) == 0
    keys = json.loads((tmp_path / "keys.json").read_text())["keys"]
    assert keys == {"new": base64.b64encode(new).decode()}
    with serving(provision_database, tmp_path, environment=_keep_keys(tmp_path)) as running:
        listed = running.secrets.ListSecrets(
            secret_service_pb2.ListSecretsRequest(workspace_id=workspace_id), metadata=LAUNCHER
        )
    assert [entry.key for entry in listed.secrets] == ["CLAUDE_CODE_OAUTH_TOKEN"]


@pytest.mark.usefixtures("environment")
def test_check_config_names_the_replica_that_lacks_a_key_and_rekey_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    provision_database: str,
) -> None:
    old, new = b"o" * 32, b"n" * 32
    write_keys(tmp_path, "old", old=old)
    monkeypatch.setenv("PROVISION_DATABASE_URL", provision_database)
    assert main(["check-config"]) == 0
    assert "no live replica" in capsys.readouterr().out
    with serving(provision_database, tmp_path, environment=_keep_keys(tmp_path)) as running:
        _created(running.workspaces)
        write_keys(tmp_path, "new", old=old, new=new)
        name = f"{socket.gethostname()}/{os.getpid()}"
        lacking = f"{name} does not hold encryption key `new`, so nothing is written with it"
        assert main(["check-config"]) == 0
        printed = capsys.readouterr().out
        assert f"    {name} holds old and writes with old\n    {lacking}; put it" in printed
        assert main(["rekey"]) == MISCONFIGURED
        said = capsys.readouterr().err
        assert said.startswith(f"provision-service: nothing was encrypted: {lacking}")
        write_keys(tmp_path, "new", new=new)
        assert main(["check-config"]) == FAILED
        assert f"`old` is missing from the keys file, and {name} writes" in capsys.readouterr().err
    assert main(["check-config"]) == FAILED
    printed, said = capsys.readouterr()
    assert "no live replica" in printed
    assert "`old` is missing from the keys file, and secrets need it" in said


def _keep_keys(directory: Path) -> dict[str, str]:
    """The helper writes a keys file of its own: keep the one of this test under another name."""
    kept = directory / "kept-keys.json"
    kept.touch(mode=0o600)
    kept.write_text((directory / "keys.json").read_text())
    return {"PROVISION_SECRETS_KEYS_FILE": str(kept)}


def _create_under_keys_of(directory: Path, database: str) -> str:
    with serving(database, directory, environment=_keep_keys(directory)) as running:
        workspace_id = _created(running.workspaces)
    (directory / "keys.json").write_text((directory / "kept-keys.json").read_text())
    return workspace_id


@pytest.mark.parametrize("processes", ["1", "2"])
def test_serve_comes_up_and_ends_when_told(
    tmp_path: Path, provision_database: str, processes: str
) -> None:
    address = free_address()
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **environment_of(tmp_path, "127.0.0.1:1", {}),
        "PYTHONPATH": "protos:.",
        "PROVISION_LISTEN": address,
        "PROVISION_DATABASE_URL": provision_database,
    }
    command = [sys.executable, "-m", "provision_service", "serve", "--processes", processes]
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            until(lambda: process.poll() is not None or _serves(address), 40)
            assert process.poll() is None, log.read_text()
            process.send_signal(signal.SIGTERM)
            started = time.monotonic()
            assert process.wait(20) == 0, log.read_text()
            assert time.monotonic() - started < 15
        finally:
            process.kill()
    assert "Traceback" not in log.read_text()


def _serves(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.RpcError:
            return False
        return bool(answer.status == SERVING)
