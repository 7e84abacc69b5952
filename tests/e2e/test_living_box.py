"""A box from its launch to its proof: the environment is all it gets, and all it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentworkspace.provision.v1 import provision_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from tests.e2e.boxes import ROOT, prepare, reply_of
from tests.e2e.upstreams import answer_to
from tests.e2e.vendors import ANTHROPIC
from tests.e2e.verdict import Expected, prove
from tests.e2e.world import World, running_world
from tests.rpc.provision_server import LAUNCHER
from tests.rpc.vendor_server import until

TOKEN = "oauth-token-of-the-tenant-0123456789"
SECRETS = {"CLAUDE_CODE_OAUTH_TOKEN": TOKEN, "FEATURE_FLAGS": "fast,careful"}


@pytest.fixture
def world(registry_database: str, provision_database: str, tmp_path: Path) -> Iterator[World]:
    with running_world(registry_database, provision_database, tmp_path) as running:
        yield running


def test_a_box_registers_works_and_reads_its_secrets_from_its_environment_alone(
    world: World,
) -> None:
    workspace = world.create("acme", "claude-code", "opus", SECRETS)
    answer = world.launch(workspace)
    world.pair.provision.workspaces.CompleteProvision(
        pb.CompleteProvisionRequest(
            provision_id=answer.provision.id, outcome=provision_pb2.PROVISION_OUTCOME_SUCCEEDED
        ),
        metadata=LAUNCHER,
    )
    assert status(world, workspace) == workspace_pb2.WORKSPACE_STATUS_PROVISIONING

    job = world.job("claude-code", dict(answer.env))
    prepare(job)
    program = {**job.program, "provision": world.pair.provision.address}
    (job.directory / "program.json").write_text(json.dumps(program))
    # A path of this checkout is what an image would have installed.
    launch_code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'protos')!r}]\n"
        "from tests.e2e import living_box; living_box.main()"
    )
    with subprocess.Popen(
        (sys.executable, "-c", launch_code),
        cwd=job.directory,
        env=dict(job.environment),
        stdin=subprocess.PIPE,
    ) as process:
        try:
            until(lambda: (job.directory / "story.json").exists() or process.poll(), 60)
            assert process.poll() is None
            until(lambda: launch_state(world, answer) == provision_pb2.PROVISION_STATE_PROVEN, 30)
            assert status(world, workspace) == workspace_pb2.WORKSPACE_STATUS_RUNNING
        finally:
            process.communicate(b"\n", timeout=30)
    assert process.returncode == 0

    story: dict[str, Any] = json.loads((job.directory / "story.json").read_text())
    assert story == {"outcome": "BOOTSTRAPPED", "incarnation": 1, "values": SECRETS}
    reply = reply_of(job)
    # The client took the ticket out, so that nothing that the box starts can find it.
    ticketless = {name: text for name, text in answer.env.items() if "TICKET" not in name}
    assert reply.environment == ticketless
    prove(
        reply,
        world.upstreams.asked(job.question),
        Expected(
            question=job.question,
            answer=answer_to(job.question),
            upstream=ANTHROPIC,
            port=world.port(ANTHROPIC),
            path="/v1/messages",
            model="opus",
            credential=TOKEN,
        ),
    )


def status(world: World, workspace: str) -> int:
    answer = world.pair.provision.workspaces.GetWorkspace(
        pb.GetWorkspaceRequest(workspace_id=workspace), metadata=LAUNCHER
    )
    return int(answer.workspace.status)


def launch_state(world: World, answer: Any) -> int:
    found = world.pair.provision.workspaces.GetProvision(
        pb.GetProvisionRequest(provision_id=answer.provision.id), metadata=LAUNCHER
    )
    return int(found.provision.state)
