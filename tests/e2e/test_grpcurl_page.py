"""The commands of protos/grpcurl.md work as they stand; no secret is an argument of a process."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.boxes import ROOT
from tests.rpc.registry_server import secret_of
from tests.services import Pair, both

SECONDS: Final = 60
EXAMPLE_SECRET: Final = "an-example-and-no-real-token"
TOKEN: Final = re.compile(r"aw[iat]_[A-Za-z0-9_-]{8}")
# The wheel puts its program beside the interpreter.
TOOLS_PATH: Final = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
GRPCURL: Final = shutil.which("grpcurl", path=TOOLS_PATH)
BASH: Final = shutil.which("bash")

pytestmark = pytest.mark.skipif(
    GRPCURL is None or BASH is None,
    reason="no grpcurl for this platform (the wheel has one for Linux on x86-64), or no bash",
)

# One call that changes nothing, for each service.
ONE_CALL_EACH: Final = {
    "registry": {
        "agentworkspace.registry.v1.AuditService": ("ListAuditEvents", {}),
        "agentworkspace.registry.v1.RegistrationService": ("WhoAmI", {}),
        "agentworkspace.registry.v1.SystemService": ("GetSystemInfo", {}),
        "agentworkspace.registry.v1.TokenService": ("ListTokens", {"workspace_id": "WORKSPACE"}),
        "agentworkspace.registry.v1.WorkspaceRegistryService": ("ListRegistrations", {}),
        "grpc.health.v1.Health": ("Check", {}),
    },
    "provision": {
        "agentworkspace.provision.v1.AuditService": ("ListAuditEvents", {}),
        "agentworkspace.provision.v1.BillingService": (
            "PreviewBillingMode",
            {"runtime": "claude-code", "model": "opus"},
        ),
        "agentworkspace.provision.v1.CatalogueService": ("ListRuntimes", {}),
        "agentworkspace.provision.v1.SecretService": (
            "ListSecrets",
            {"workspace_id": "WORKSPACE"},
        ),
        "agentworkspace.provision.v1.SystemService": ("GetSystemInfo", {}),
        "agentworkspace.provision.v1.WorkspaceService": ("ListWorkspaces", {}),
        "grpc.health.v1.Health": ("Check", {}),
    },
}
REFLECTION: Final = {f"grpc.reflection.{each}.ServerReflection" for each in ("v1", "v1alpha")}


@dataclass(frozen=True)
class Shell:
    """A bash whose programs note their arguments, one a line, before they start."""

    environment: dict[str, str]
    noted: Path

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        assert BASH is not None
        file = self.noted.with_name("script.sh")
        file.write_text(script)
        return subprocess.run(
            (BASH, "-eu", "-o", "pipefail", str(file)),
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    @property
    def arguments(self) -> str:
        return self.noted.read_text()


@pytest.fixture
def pair(registry_database: str, provision_database: str, tmp_path: Path) -> Iterator[Pair]:
    with both(registry_database, provision_database, tmp_path) as running:
        yield running


@pytest.fixture
def shell(pair: Pair, tmp_path: Path) -> Shell:
    assert GRPCURL is not None
    programs, noted = tmp_path / "programs", tmp_path / "arguments"
    programs.mkdir()
    for name, real in {"grpcurl": GRPCURL, "python3": sys.executable}.items():
        spy = programs / name
        spy.write_text(f'#!{BASH}\nprintf "%s\\n" {name} "$@" >>"{noted}"\nexec "{real}" "$@"\n')
        spy.chmod(spy.stat().st_mode | stat.S_IXUSR)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "REGISTRY": pair.registry.address,
        "PROVISION": pair.provision.address,
        "ADMIN_TOKEN": secret_of("operator"),
    }
    return Shell(environment, noted)


def blocks() -> list[str]:
    """The shell blocks of the page, in their order."""
    page = (ROOT / "protos" / "grpcurl.md").read_text()
    return re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def test_the_pages_commands_work_in_their_order(pair: Pair, shell: Shell) -> None:
    assert len(blocks()) >= 5
    facts = 'echo "workspace=$WORKSPACE provision=$PROVISION_ID" >&2'
    done = shell.run("\n".join([*blocks(), facts]))
    assert done.returncode == 0, done.stderr
    assert "agentworkspace.registry.v1.RegistrationService" in done.stdout
    assert "rpc CreateWorkspace" in done.stdout
    assert re.search(r'"resolved_?[mM]ode": "byok"', done.stdout)
    assert "\nbyok\n" in done.stdout
    assert '"status": "WORKSPACE_STATUS_RUNNING"' in done.stdout
    assert re.search(r'"revoked_?[cC]ount": 1', done.stdout)
    assert re.search(r"workspace=[0-9a-f-]{36} provision=[0-9a-f-]{36}", done.stderr)


def test_no_secret_is_an_argument_of_any_process(shell: Shell) -> None:
    done = shell.run("\n".join([*blocks(), 'printf "%s" "$BOX_TOKEN" >&2']))
    assert done.returncode == 0
    box_token = done.stderr.splitlines()[-1]
    assert TOKEN.match(box_token)
    assert "grpcurl\n-plaintext" in shell.arguments
    for secret in (secret_of("operator"), EXAMPLE_SECRET, box_token):
        assert secret not in shell.arguments
    assert TOKEN.findall(shell.arguments) == []


def test_the_watch_over_arguments_would_see_a_secret(shell: Shell) -> None:
    shell.run('grpcurl -plaintext -H "authorization: Bearer $ADMIN_TOKEN" 127.0.0.1:1 list || true')
    assert secret_of("operator") in shell.arguments


@pytest.mark.parametrize("side", ["registry", "provision"])
def test_every_service_answers_through_reflection(pair: Pair, shell: Shell, side: str) -> None:
    address = getattr(pair, side).address
    listed = shell.run(f"grpcurl -plaintext {address} list")
    assert set(listed.stdout.split()) - REFLECTION == set(ONE_CALL_EACH[side])
    setup = "\n".join(blocks()[:4])
    asked = [
        call_of(address, f"{service}/{method}", body)
        for service, (method, body) in ONE_CALL_EACH[side].items()
    ]
    done = shell.run("\n".join([f"exec 3>&1 >/dev/null\n{setup}\nexec >&3", *asked]))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("answered ") == len(ONE_CALL_EACH[side])


def call_of(address: str, method: str, body: dict[str, Any]) -> str:
    """One call, with the body on standard input; the box's own method with the box's token."""
    who = "as_box" if method.endswith("/WhoAmI") else "as_admin"
    text = json.dumps(body).replace('"WORKSPACE"', "\"'$WORKSPACE'\"")
    return f"{who} {address} {method} <<<'{text}' >/dev/null && echo answered {method}"
