"""Admissions and launches of many workspaces in one call, as a control plane makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from agentworkspace.registry.v1 import workspace_registry_service_pb2 as pb
from tests.rpc.registry_server import LAUNCHER, Running
from tests.rpc.registry_story import SECONDS, Workspace, new_id

Metadata = tuple[tuple[str, str], ...]


def admission(workspace: Workspace, **more: Any) -> pb.AdmitWorkspaceRequest:
    """With a first token, unless `first_token` is None."""
    usual: dict[str, Any] = {
        "workspace_id": workspace.workspace_id,
        "tenant_id": workspace.tenant_id,
        "request_id": new_id(),
        "first_token": pb.FirstToken(label="first"),
    }
    return pb.AdmitWorkspaceRequest(**(usual | more))


def launch(workspace: Workspace, **more: Any) -> pb.BeginIncarnationRequest:
    return pb.BeginIncarnationRequest(
        **({"workspace_id": workspace.workspace_id, "request_id": new_id()} | more)
    )


def admit_all(
    running: Running,
    *requests: pb.AdmitWorkspaceRequest,
    correlation_ids: Sequence[str] = (),
    metadata: Metadata = LAUNCHER,
) -> list[pb.BatchAdmission]:
    request = pb.BatchAdmitWorkspacesRequest(requests=requests, correlation_ids=correlation_ids)
    answer = running.workspaces.BatchAdmitWorkspaces(request, metadata=metadata, timeout=SECONDS)
    return list(answer.results)


def admit_alone(
    running: Running, request: pb.AdmitWorkspaceRequest, metadata: Metadata = LAUNCHER
) -> Any:
    return running.workspaces.AdmitWorkspace(request, metadata=metadata, timeout=SECONDS)


def begin_all(
    running: Running,
    *requests: pb.BeginIncarnationRequest,
    correlation_ids: Sequence[str] = (),
    metadata: Metadata = LAUNCHER,
) -> list[pb.BeginIncarnationResponse]:
    request = pb.BatchBeginIncarnationsRequest(requests=requests, correlation_ids=correlation_ids)
    answer = running.workspaces.BatchBeginIncarnations(request, metadata=metadata, timeout=SECONDS)
    return list(answer.results)


def begin_alone(
    running: Running, request: pb.BeginIncarnationRequest, metadata: Metadata = LAUNCHER
) -> Any:
    return running.workspaces.BeginIncarnation(request, metadata=metadata, timeout=SECONDS)


@dataclass(frozen=True)
class Kind:
    """One of the two batches, where both are held to the same."""

    method: str
    # The queue of the service that its items wait in.
    queue: str
    message: Callable[..., Message]
    one: Callable[[Workspace], Message]
    # Whether this result is one of an item that was done.
    is_done: Callable[[Any], bool]

    def call(self, running: Running) -> Any:
        return getattr(running.workspaces, self.method)

    def ask(self, running: Running, requests: Sequence[Message], **more: Any) -> list[Any]:
        request = self.message(requests=requests, **more)
        return list(self.call(running)(request, metadata=LAUNCHER, timeout=SECONDS).results)


KINDS: Final[Mapping[str, Kind]] = {
    "admissions": Kind(
        "BatchAdmitWorkspaces",
        "admissions",
        pb.BatchAdmitWorkspacesRequest,
        admission,
        lambda result: bool(result.admitted),
    ),
    "launches": Kind(
        "BatchBeginIncarnations",
        "launches",
        pb.BatchBeginIncarnationsRequest,
        launch,
        lambda result: result.incarnation > 0,
    ),
}
