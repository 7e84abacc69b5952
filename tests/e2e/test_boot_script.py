"""protos/boot.sh is a whole box: it gets in, comes back, stops, and lets no secret be seen.

Against a real registry on PostgreSQL, with every command line client and shell that is here.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_instance_token, sha256_hex
from agentworkspace.registry.v1 import token_pb2
from tests.rpc.registry_server import Running, serving
from tests.rpc.registry_story import Workspace

PROTOS = Path(__file__).parents[2] / "protos"
SCRIPT = PROTOS / "boot.sh"
README = PROTOS / "README.md"
SECONDS = 60.0
STOPPED = 3
# The clients come as wheels: their programs lie beside the interpreter.
TOOLS_PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
CLIENTS = [each for each in ("grpcurl", "buf") if shutil.which(each, path=TOOLS_PATH)]
SHELLS = [each for each in ("dash", "bash", "busybox") if shutil.which(each)] or ["sh"]
# Whatever the script starts, beside the client itself.
TOOLS = ["base64", "cut", "dirname", "gzip", "head", "mkdir", "mv", "od", "sed", "sha256sum"]
TOOLS += ["shasum", "sleep", "tail", "tr"]


@pytest.fixture(scope="module")
def registry(
    registry_database_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with serving(registry_database_of_module, tmp_path_factory.mktemp("registry")) as running:
        yield running


@dataclass
class Box:
    """A machine on which the script runs; `home` survives its restarts."""

    registry: Running
    home: Path
    client: str = CLIENTS[0]
    shell: str = SHELLS[0]
    path: str = TOOLS_PATH

    def __post_init__(self) -> None:
        self.workspace = Workspace(self.registry)
        self.workspace.admit()
        self.ticket: str | None = None
        self.incarnation = 0

    def launch(self) -> str:
        launched = self.workspace.launch()
        self.ticket, self.incarnation = launched.bootstrap_ticket, launched.incarnation
        return self.ticket

    def boot(self, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": self.path,
            "HOME": str(self.home),
            "RPC_CLIENT": self.client,
            "BOOT_BEATS": "1",
            "WORKSPACE_ID": self.workspace.workspace_id,
            "WORKSPACE_REGISTRY_ADDRESS": self.registry.address,
            **more,
        }
        if self.ticket is not None:
            environment["WORKSPACE_BOOTSTRAP_TICKET"] = self.ticket
            environment["WORKSPACE_INCARNATION"] = str(self.incarnation)
        busybox = ["sh"] if self.shell == "busybox" else []
        return subprocess.run(
            [self.shell, *busybox, str(SCRIPT)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def derived(self) -> str:
        ticket = Secret(self.ticket or "")
        return derive_instance_token(ticket, self.workspace.workspace_id, self.incarnation).reveal()

    def state(self) -> list[str]:
        return (self.home / ".agentworkspace-box").read_text().splitlines()

    def token_id_of(self, token: str) -> str:
        return str(self.workspace.validate(token).principal.token_id)


@pytest.fixture
def box(registry: Running, tmp_path: Path) -> Box:
    return Box(registry, tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_launched_box_gets_in_and_back_in_with_the_derived_token(
    box: Box, client: str, shell: str
) -> None:
    box.client, box.shell = client, shell
    box.launch()
    first = box.boot()
    assert first.returncode == 0, first.stderr
    assert "registered: REGISTER_OUTCOME_BOOTSTRAPPED" in first.stderr
    (token,) = box.workspace.live_instance_tokens()
    assert token.HasField("first_use_time"), "a heartbeat came with it"
    assert box.token_id_of(box.derived()) == token.token_id
    again = box.boot()
    assert "registered: REGISTER_OUTCOME_AUTHENTICATED" in again.stderr
    assert [each.token_id for each in box.workspace.live_instance_tokens()] == [token.token_id]
    assert not (box.home / ".agentworkspace-box").exists(), "nothing had to be kept"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_box_without_a_ticket_keeps_its_secret_in_a_private_file(box: Box, client: str) -> None:
    box.client = client
    assert box.boot().returncode == 0
    kept = box.home / ".agentworkspace-box"
    assert kept.stat().st_mode & 0o777 == 0o600
    launch, token, evidence = box.state()
    assert (launch, evidence) == ("none", "")
    (live,) = box.workspace.live_instance_tokens()
    assert box.token_id_of(token) == live.token_id
    assert "AUTHENTICATED" in box.boot().stderr


def test_a_box_whose_derived_token_was_revoked_comes_back_with_a_fresh_one(box: Box) -> None:
    box.launch()
    box.boot()
    box.workspace.revoke_all(reason=token_pb2.REVOKE_REASON_OPERATOR)
    back = box.boot()
    assert "not admitted: ERROR_REASON_TOKEN_HASH_IN_USE" in back.stderr
    assert "registered: REGISTER_OUTCOME_RECOVERED" in back.stderr
    (live,) = box.workspace.live_instance_tokens()
    assert box.token_id_of(box.state()[1]) == live.token_id
    assert "AUTHENTICATED" in box.boot().stderr


def test_what_an_earlier_launch_left_behind_is_not_used(box: Box) -> None:
    box.boot()
    left_over = box.state()[1]
    box.launch()
    assert "BOOTSTRAPPED" in box.boot().stderr
    assert box.derived() != left_over
    (live,) = box.workspace.live_instance_tokens()
    assert box.token_id_of(box.derived()) == live.token_id


@pytest.mark.parametrize("client", CLIENTS)
def test_stop_ends_the_script_and_says_why(box: Box, client: str) -> None:
    box.client = client
    box.workspace.retire()
    stopped = box.boot()
    assert stopped.returncode == STOPPED
    assert "told to stop: ERROR_REASON_WORKSPACE_REMOVED" in stopped.stderr


def test_a_registry_that_is_not_there_is_tried_again(box: Box) -> None:
    with pytest.raises(subprocess.TimeoutExpired) as still_trying:
        subprocess.run(
            [SHELLS[0], str(SCRIPT)],
            env={
                "PATH": TOOLS_PATH,
                "HOME": str(box.home),
                "WORKSPACE_ID": box.workspace.workspace_id,
                "WORKSPACE_REGISTRY_ADDRESS": "127.0.0.1:1",
            },
            stderr=subprocess.PIPE,
            timeout=6.0,
            check=False,
        )
    assert (still_trying.value.stderr or b"").count(b"not admitted: no answer") >= 2


@pytest.mark.parametrize("client", CLIENTS)
def test_no_secret_is_an_argument_of_any_process_or_printed(
    box: Box, client: str, tmp_path: Path
) -> None:
    box.client = client
    box.path = _spied(tmp_path / "spies", [client, *TOOLS])
    ticket = box.launch()
    first = box.boot()
    box.workspace.revoke_all(reason=token_pb2.REVOKE_REASON_OPERATOR)
    second = box.boot()
    seen = (tmp_path / "spies" / "log").read_text()
    assert seen.count(client) >= 4, "the spies saw the calls"
    key = ticket[4:47]
    secrets = [key, _hex(key), box.derived()[4:47], _hex(box.derived()[4:47])]
    secrets += [box.state()[1][4:47], _hex(box.state()[1][4:47])]
    for secret in secrets:
        for shown in (seen, first.stdout, first.stderr, second.stdout, second.stderr):
            assert secret not in shown


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_derives_what_the_test_vectors_say(shell: str, tmp_path: Path) -> None:
    lender = tmp_path / "vectors"
    lender.write_text(f". {SCRIPT}\nWORKSPACE_ID=$1 WORKSPACE_INCARNATION=$2\nderived_token\n")
    busybox = ["sh"] if shell == "busybox" else []
    for ticket, workspace_id, incarnation, token, token_sha256 in _vectors():
        done = subprocess.run(
            [shell, *busybox, str(lender), workspace_id, incarnation],
            env={"PATH": TOOLS_PATH, "ticket": ticket},
            capture_output=True,
            text=True,
            check=True,
            timeout=SECONDS,
        )
        assert done.stdout == token
        assert sha256_hex(Secret(token)) == token_sha256
        derived = derive_instance_token(Secret(ticket), workspace_id, int(incarnation))
        assert derived.reveal() == token


def _vectors() -> list[list[str]]:
    """Rows of the README's table of derived instance tokens."""
    tickets = [line for line in README.read_text().splitlines() if line.startswith("| `awt_")]
    rows = [line for line in tickets if "| `awi_" in line]
    found = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows]
    assert len(found) == 2
    return found


def _spied(directory: Path, names: list[str]) -> str:
    """A PATH on which each of these programs writes its arguments down before it runs."""
    directory.mkdir()
    log = directory / "log"
    for name in names:
        real = shutil.which(name, path=TOOLS_PATH)
        if real is None:
            continue
        spy = directory / name
        spy.write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >> {log}\nexec {real} "$@"\n')
        spy.chmod(0o755)
    return f"{directory}:{TOOLS_PATH}"


def _hex(payload: str) -> str:
    return base64.urlsafe_b64decode(payload + "=").hex()
