"""A FastAPI service that answers boxes, and nobody else. Run it with any ASGI server.

REGISTRY_ADDRESS is where the registry is reached; REGISTRY_TOKEN is the secret of a caller with the
role `verifier` in the registry's credentials file.
"""

from __future__ import annotations

import os

from fastapi import FastAPI

from agentworkspace.client.channel import aio_channel
from agentworkspace.client.verifier import Requirement, principal
from agentworkspace.client.verifier.asgi import BearerMiddleware
from agentworkspace.core.secret import Secret

app = FastAPI()
app.add_middleware(
    BearerMiddleware,
    channel=lambda: aio_channel(
        os.environ["REGISTRY_ADDRESS"], bearer=Secret(os.environ["REGISTRY_TOKEN"])
    ),
    requirements={"/tasks": Requirement(), "/healthz": None},
)


@app.get("/tasks")
def tasks() -> dict[str, str]:
    caller = principal()
    return {"workspace": caller.workspace_id, "tenant": caller.tenant_id}


@app.get("/healthz")
def healthz() -> str:
    return "ok"
