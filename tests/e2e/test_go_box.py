"""The box in Go of protos/README.md, built from Debian's packages and run at a registry."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from agentworkspace.registry.v1 import token_pb2
from tests.rpc.registry_server import Running, serving
from tests.rpc.registry_story import Workspace

PROTOS: Final = Path(__file__).parents[2] / "protos"
CODEC: Final = Path(__file__).with_name("debian_codec.go")
LIBRARIES: Final = Path("/usr/share/gocode")
PACKAGES: Final = (
    "golang-go protoc-gen-go protoc-gen-go-grpc golang-google-grpc-dev golang-google-protobuf-dev"
)
SECONDS: Final = 60.0


def is_here() -> bool:
    programs = ("go", "protoc-gen-go", "protoc-gen-go-grpc")
    libraries = ("google.golang.org/grpc", "google.golang.org/protobuf")
    return all(map(shutil.which, programs)) and all(
        (LIBRARIES / "src" / library).is_dir() for library in libraries
    )


pytestmark = [
    pytest.mark.skipif(not is_here(), reason=f"needs Debian's {PACKAGES}"),
    pytest.mark.timeout(600),  # Go compiles gRPC the first time
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("go")
    source = home / "box"
    source.mkdir()
    (shown,) = re.findall(r"```go\n(.*?)```", (PROTOS / "README.md").read_text(), re.DOTALL)
    (source / "box.go").write_text(shown)
    shutil.copy(CODEC, source)
    generate(home)
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": f"{home}:{LIBRARIES}",
        "GOFLAGS": "",
        "GOPROXY": "off",
        "GOCACHE": str(home / "cache"),
    }
    built = home / "a-box"
    command = ("nice", "go", "build", "-o", str(built), ".")
    subprocess.run(command, cwd=source, env=environment, check=True)
    return built


def generate(home: Path) -> None:
    """The recipe of buf.gen.yaml for Go, written where GOPATH looks."""
    recipe = yaml.safe_load((PROTOS / "buf.gen.yaml").read_text())
    plugins = [each for each in recipe["plugins"] if "go" in each.get("out", "").split("/")]
    assert [each["local"] for each in plugins] == ["protoc-gen-go", "protoc-gen-go-grpc"]
    out = home / "src" / "agentworkspace.internal"
    template = json.dumps(
        {"version": recipe["version"], "plugins": [{**each, "out": str(out)} for each in plugins]}
    )
    buf = str(Path(sys.executable).with_name("buf"))
    subprocess.run((buf, "generate", str(PROTOS), "--template", template), check=True)


@pytest.fixture(scope="module")
def registry(
    registry_database_of_module: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    often = {"REGISTRY_HEARTBEAT_INTERVAL_SECONDS": "1"}
    directory = tmp_path_factory.mktemp("registry")
    with serving(registry_database_of_module, directory, environment=often) as running:
        yield running


def until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.05)


def test_it_gets_in_comes_back_after_a_revocation_and_stops_when_retired(
    program: Path, registry: Running
) -> None:
    workspace = Workspace(registry)
    workspace.admit(ticket_required=True)
    launched = workspace.launch()
    box = subprocess.Popen(
        (str(program),),
        env={
            "WORKSPACE_ID": workspace.workspace_id,
            "WORKSPACE_INCARNATION": str(launched.incarnation),
            "WORKSPACE_BOOTSTRAP_TICKET": launched.bootstrap_ticket,
            "WORKSPACE_REGISTRY_ADDRESS": registry.address,
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: len(workspace.live_instance_tokens()) == 1)
        (first,) = workspace.live_instance_tokens()
        until(lambda: workspace.registration().HasField("last_heartbeat_time"))
        workspace.revoke(first.token_id, reason=token_pb2.REVOKE_REASON_OPERATOR)
        until(lambda: len(workspace.live_instance_tokens()) == 1)
        (second,) = workspace.live_instance_tokens()
        assert second.token_id != first.token_id
        workspace.retire()
        _, said = box.communicate(timeout=SECONDS)
    finally:
        box.kill()
        box.wait()
    assert box.returncode == 1
    assert "told to stop" in said
    assert "aw" + "t_" not in said
