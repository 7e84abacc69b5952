"""A launcher: creates a workspace, starts its box on Docker or Kubernetes, and starts it again.

    launcher.py PLATFORM IMAGE create TENANT MODEL SECRETS.json    one workspace and its box
    launcher.py PLATFORM IMAGE heal                                what needs a launch now

PLATFORM is docker or kubernetes; `docker` and `kubectl` are taken from PATH. PROVISION_ADDRESS is
where provision_service is reached; PROVISION_TOKEN is the secret of a caller with the role
`launcher` in its credentials file. It exits with 1 when a box was not started, and says which.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from agentworkspace.client.channel import blocking_channel
from agentworkspace.core.secret import Secret
from agentworkspace.provision.v1 import provision_pb2, workspace_pb2
from agentworkspace.provision.v1 import workspace_service_pb2 as pb
from agentworkspace.provision.v1.workspace_service_pb2_grpc import WorkspaceServiceStub

Start = Callable[[str, str, Mapping[str, str]], None]
SECONDS = 30


def launch(
    workspaces: WorkspaceServiceStub,
    workspace_id: str,
    reason: provision_pb2.ProvisionReason.ValueType,
    image: str,
    start: Start,
) -> bool:
    """Whether the box was started, or need not be."""
    answer = workspaces.ProvisionWorkspace(
        pb.ProvisionWorkspaceRequest(
            workspace_id=workspace_id, reason=reason, request_id=str(uuid.uuid4())
        ),
        timeout=SECONDS,
    )
    if answer.joined or answer.skipped:
        return True  # somebody else launches it, or it needs no launch any more: start nothing
    done = pb.CompleteProvisionRequest(provision_id=answer.provision.id)
    try:
        start(f"{workspace_id}-{answer.provision.incarnation}", image, answer.env)
        done.outcome = provision_pb2.PROVISION_OUTCOME_SUCCEEDED
    except (OSError, subprocess.CalledProcessError) as wrong:
        done.outcome = provision_pb2.PROVISION_OUTCOME_FAILED
        done.error.code, done.error.message = "START_FAILED", str(type(wrong).__name__)
        print(f"{workspace_id} was not started: {wrong}", file=sys.stderr)
    workspaces.CompleteProvision(done, timeout=SECONDS)
    return done.outcome == provision_pb2.PROVISION_OUTCOME_SUCCEEDED


def on_docker(name: str, image: str, env: Mapping[str, str]) -> None:
    """Only names are arguments, which every user of the machine can read; Docker takes the values
    from our environment."""
    named = [word for key in sorted(env) for word in ("--env", key)]
    command = ["docker", "run", "--detach", "--name", name, *named, image]
    subprocess.run(command, env={"PATH": os.environ["PATH"], **env}, check=True)


def on_kubernetes(name: str, image: str, env: Mapping[str, str]) -> None:
    """A Secret of this launch alone, and a Pod that starts with it. One apply makes both."""
    box = {
        "name": "box",
        "image": image,
        "envFrom": [{"secretRef": {"name": name}}],
    }
    objects = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {**env}},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "restartPolicy": "OnFailure",  # in place: a box finds its token again
                "automountServiceAccountToken": False,
                "containers": [box],
            },
        },
    ]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    subprocess.run(["kubectl", "apply", "-f", "-"], input=text, text=True, check=True)


PLATFORMS: Mapping[str, Start] = {"docker": on_docker, "kubernetes": on_kubernetes}


def main(arguments: list[str]) -> int:
    if arguments[2:3] not in (["create"], ["heal"]) or arguments[0] not in PLATFORMS:
        sys.exit(__doc__)
    platform, image, what, *rest = arguments
    start = PLATFORMS[platform]
    bearer = Secret(os.environ["PROVISION_TOKEN"])
    with blocking_channel(os.environ["PROVISION_ADDRESS"], bearer=bearer) as channel:
        workspaces = WorkspaceServiceStub(channel)
        if what == "create":
            tenant, model, secrets = rest
            created = workspaces.CreateWorkspace(
                pb.CreateWorkspaceRequest(
                    request_id=str(uuid.uuid4()),
                    tenant_id=tenant,
                    workspace=workspace_pb2.Workspace(name="agent", model=model),
                    secrets=json.loads(Path(secrets).read_text()),
                ),
                timeout=SECONDS,
            )
            first = provision_pb2.PROVISION_REASON_CREATE
            started = launch(workspaces, created.workspace.id, first, image, start)
            print(created.workspace.id)
            return 0 if started else 1
        listed = workspaces.ListWorkspaces(
            pb.ListWorkspacesRequest(needs_launch=True, page_size=200), timeout=SECONDS
        )
        failed = 0
        for each in listed.workspaces:
            again = provision_pb2.PROVISION_REASON_AUTO_RESTART
            failed += not launch(workspaces, each.id, again, image, start)
            print(each.id)
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
