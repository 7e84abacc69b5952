"""The examples run as they stand: a launcher, the agent it starts, and a service the agent calls.

`docker` and `kubectl` are FAKES of these tests: programs of a few lines that start the image, which
is the name of a Python file, as a process. What reaches a box is what the real ones would hand on.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from agentworkspace.provision.v1 import workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from tests.e2e.boxes import ROOT
from tests.rpc.provision_server import LAUNCHER
from tests.rpc.registry_server import secret_of
from tests.rpc.test_rpc_verifier_http import served_asgi
from tests.rpc.vendor_server import until
from tests.services import Pair, both

HERE: Final = Path(__file__).parent
AGENT: Final = HERE / "agent.py"
SECONDS: Final = 60
FAKE: Final = """#!{python}
import json, os, subprocess, sys
words, env = sys.argv[1:], {{}}
if words[0] == "run":  # docker
    env = {{word: os.environ[word] for flag, word in zip(words, words[1:]) if flag == "--env"}}
    image = words[-1]
else:  # kubectl
    secret, pod = json.load(sys.stdin)["items"]
    (box,) = pod["spec"]["containers"]
    assert box["envFrom"] == [{{"secretRef": {{"name": secret["metadata"]["name"]}}}}]
    env, image = secret["stringData"], box["image"]
if not os.path.exists(image):
    sys.exit("no such image")
paths = {{"PATH": os.environ["PATH"], "PYTHONPATH": {paths!r}, "HOME": {home!r}}}
with open({home!r} + "/said", "a") as said:
    program, given = [sys.executable, image], {{**env, **paths}}
    box = subprocess.Popen(program, env=given, stdout=said, stderr=said)
with open({home!r} + "/boxes", "a") as boxes:
    print(box.pid, file=boxes)
"""


@pytest.fixture
def pair(registry_database: str, provision_database: str, tmp_path: Path) -> Iterator[Pair]:
    with both(registry_database, provision_database, tmp_path) as running:
        yield running


@pytest.fixture
def environment(pair: Pair, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A launcher's, with the fakes in front on PATH; the boxes that they started end with it."""
    programs, paths = tmp_path / "programs", f"{ROOT / 'protos'}:{ROOT}"
    programs.mkdir()
    for name in ("docker", "kubectl"):
        fake = programs / name
        fake.write_text(FAKE.format(python=sys.executable, paths=paths, home=str(tmp_path)))
        fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    yield {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": paths,
        "PROVISION_ADDRESS": pair.provision.address,
        "PROVISION_TOKEN": LAUNCHER[0][1].removeprefix("Bearer "),
    }
    started = tmp_path / "boxes"
    for pid in started.read_text().split() if started.exists() else ():
        os.kill(int(pid), signal.SIGTERM)


def launcher(environment: dict[str, str], *words: str, status: int = 0) -> str:
    done = subprocess.run(
        (sys.executable, str(HERE / "launcher.py"), *words),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == status, done.stderr
    return done.stdout.strip()


def created(
    environment: dict[str, str], tmp_path: Path, platform: str, image: str, *, status: int = 0
) -> str:
    secrets = tmp_path / "secrets.json"
    secrets.write_text(json.dumps({"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-example-0123456789"}))
    return launcher(
        environment, platform, image, "create", "acme", "opus", str(secrets), status=status
    )


def workspace(pair: Pair, workspace_id: str) -> Any:
    answer = pair.provision.workspaces.GetWorkspace(
        pb.GetWorkspaceRequest(workspace_id=workspace_id), metadata=LAUNCHER
    )
    return answer.workspace


@pytest.mark.parametrize("platform", ["docker", "kubernetes"])
def test_a_launcher_starts_an_agent_that_runs(
    pair: Pair, environment: dict[str, str], tmp_path: Path, platform: str
) -> None:
    made = created(environment, tmp_path, platform, str(AGENT))
    until(lambda: workspace(pair, made).status == workspace_pb2.WORKSPACE_STATUS_RUNNING, SECONDS)
    assert launcher(environment, platform, str(AGENT), "heal") == ""


def test_a_launcher_says_what_it_could_not_start(
    pair: Pair, environment: dict[str, str], tmp_path: Path
) -> None:
    made = created(environment, tmp_path, "docker", "no-such-image", status=1)
    found = workspace(pair, made)
    assert found.status == workspace_pb2.WORKSPACE_STATUS_FAILED
    assert (found.last_error.code, found.last_error.message) == (
        "START_FAILED",
        "CalledProcessError",
    )


async def test_a_service_answers_a_box_and_nobody_else(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_ADDRESS", pair.registry.address)
    monkeypatch.setenv("REGISTRY_TOKEN", secret_of("gateway"))
    service = importlib.import_module("tests.examples.service")
    made = pair.provision.workspaces.CreateWorkspace(
        pb.CreateWorkspaceRequest(
            tenant_id="acme",
            workspace=workspace_pb2.Workspace(name="agent", model="opus"),
            secrets={"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-example-0123456789"},
        ),
        metadata=LAUNCHER,
    )
    async with served_asgi(service.app) as get:
        status, _, body = await get("/tasks", ("authorization", f"Bearer {made.auth_token}"))
        assert status == 200
        assert json.loads(body) == {"workspace": made.workspace.id, "tenant": "acme"}
        for headers in ((), (("authorization", "Bearer somebody-else"),)):
            status, _, _ = await get("/tasks", *headers)
            assert status == 401
        status, _, body = await get("/healthz")
        assert (status, json.loads(body)) == (200, "ok")


def shown(page: str) -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE
    )


@pytest.mark.parametrize(
    ("page", "program"),
    [("README.md", name) for name in ("agent", "service", "launcher")],
)
def test_what_the_readme_shows_are_lines_of_programs_that_run(page: str, program: str) -> None:
    whole = (HERE / f"{program}.py").read_text()
    (block,) = (each for each in shown(page) if each.startswith(f"# tests/examples/{program}.py"))
    for part in block.partition("\n")[2].strip("\n").split("\n    …\n"):
        assert part.strip("\n") in whole
