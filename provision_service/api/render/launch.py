"""What a box needs beside its environment."""

from __future__ import annotations

from agentworkspace.provision.v1 import launch_pb2
from provision_service.domain.launch_plan import LaunchPlan


def launch(plan: LaunchPlan | None) -> launch_pb2.Launch | None:
    """The plan, or nothing where there is none."""
    if plan is None:
        return None
    return launch_pb2.Launch(
        arguments=plan.arguments,
        files=[
            launch_pb2.LaunchFile(
                path=file.path,
                mode=file.mode,
                content=file.content,
                secret=file.secret,
                env=file.env,
            )
            for file in plan.files
        ],
        directories=[
            launch_pb2.LaunchDirectory(env=made.env, path=made.path) for made in plan.directories
        ],
        unset=plan.unset,
        model=plan.model,
        env_names=plan.names,
    )
