"""A box that lives: it registers from its environment alone, works once, and fetches its secrets.

Where provision-service is reached stands in its program, as any address of the platform would; who
it is, and with which ticket, only the environment says.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from agentworkspace.client.agent import Announcement, BlockingAgentClient
from agentworkspace.client.channel import blocking_channel
from agentworkspace.provision.v1 import secret_service_pb2, secret_service_pb2_grpc
from tests.e2e import box

SECONDS = 20.0


def main() -> None:
    program = json.loads(Path(box.PROGRAM).read_text())
    agent = BlockingAgentClient.from_environment(Announcement(runtime="claude-code"))
    with agent:
        admission = agent.admitted(SECONDS)
        box.work()
        values = secrets_of(os.environ["WORKSPACE_ID"], program["provision"], agent)
        story = {
            "outcome": admission.outcome,
            "incarnation": admission.incarnation,
            "values": values,
        }
        Path("story.json").write_text(json.dumps(story))
        # The parent looks from outside now; the heartbeats go on meanwhile.
        input()


def secrets_of(workspace: str, address: str, agent: BlockingAgentClient) -> dict[str, str]:
    with blocking_channel(address, bearer=agent.bearer) as channel:
        answer = secret_service_pb2_grpc.SecretServiceStub(channel).GetSecretValues(
            secret_service_pb2.GetSecretValuesRequest(workspace_id=workspace), timeout=SECONDS
        )
    return dict(answer.values)


if __name__ == "__main__":
    main()
