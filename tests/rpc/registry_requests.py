"""A well-formed request for every method, and how each is called as raw bytes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from google.rpc import (  # type: ignore[import-untyped]  # ships no types
    error_details_pb2,
    status_pb2,
)

from agentworkspace.registry.v1 import audit_service_pb2 as audit
from agentworkspace.registry.v1 import registration_service_pb2 as box
from agentworkspace.registry.v1 import system_service_pb2 as system
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as tokens
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as workspaces
from agentworkspace.rpc.policy import method_names
from registry_service.api.policy import SERVICES
from tests.rpc.registry_server import ADMIN, LAUNCHER, VERIFIER

Metadata = tuple[tuple[str, str], ...]
METHODS: Final = sorted(method_names(SERVICES))
STREAMING: Final = frozenset({"WatchRevocations"})
# Their requests hold others, in `requests`.
BATCHES: Final = frozenset(
    {"BatchValidateTokens", "BatchAdmitWorkspaces", "BatchBeginIncarnations"}
)
BOX_METHODS: Final = frozenset({"Register", "Heartbeat", "UpdateCard", "Deregister", "WhoAmI"})


def short(method: str) -> str:
    return method.rpartition("/")[2]


# From a workspace and one of its tokens to a request that is right in every field.
REQUESTS: Final[Mapping[str, Callable[[str, str], Message]]] = {
    "MintToken": lambda workspace, token: tokens.MintTokenRequest(
        workspace_id=workspace, kind=token_pb2.TOKEN_KIND_API, request_id=str(uuid.uuid4())
    ),
    "RotateToken": lambda workspace, token: tokens.RotateTokenRequest(
        workspace_id=workspace, token_id=token, request_id=str(uuid.uuid4())
    ),
    "ListTokens": lambda workspace, token: tokens.ListTokensRequest(workspace_id=workspace),
    "RevokeToken": lambda workspace, token: tokens.RevokeTokenRequest(
        workspace_id=workspace, token_id=token, reason=token_pb2.REVOKE_REASON_OPERATOR
    ),
    "RevokeWorkspaceTokens": lambda workspace, token: tokens.RevokeWorkspaceTokensRequest(
        workspace_id=workspace, reason=token_pb2.REVOKE_REASON_OPERATOR
    ),
    "ValidateToken": lambda workspace, token: tokens.ValidateTokenRequest(
        token="nobody's", workspace_id=workspace
    ),
    "BatchValidateTokens": lambda workspace, token: tokens.BatchValidateTokensRequest(
        requests=[tokens.ValidateTokenRequest(token="nobody's", workspace_id=workspace)]
    ),
    "WatchRevocations": lambda workspace, token: tokens.WatchRevocationsRequest(),
    "Register": lambda workspace, token: box.RegisterRequest(workspace_id=workspace),
    "Heartbeat": lambda workspace, token: box.HeartbeatRequest(workspace_id=workspace),
    "UpdateCard": lambda workspace, token: box.UpdateCardRequest(workspace_id=workspace),
    "Deregister": lambda workspace, token: box.DeregisterRequest(workspace_id=workspace),
    "WhoAmI": lambda workspace, token: box.WhoAmIRequest(),
    "AdmitWorkspace": lambda workspace, token: workspaces.AdmitWorkspaceRequest(
        workspace_id=workspace, tenant_id="acme", request_id=str(uuid.uuid4())
    ),
    "BeginIncarnation": lambda workspace, token: workspaces.BeginIncarnationRequest(
        workspace_id=workspace, request_id=str(uuid.uuid4())
    ),
    "BatchAdmitWorkspaces": lambda workspace, token: workspaces.BatchAdmitWorkspacesRequest(
        requests=[workspaces.AdmitWorkspaceRequest(workspace_id=workspace, tenant_id="acme")]
    ),
    "BatchBeginIncarnations": lambda workspace, token: workspaces.BatchBeginIncarnationsRequest(
        requests=[workspaces.BeginIncarnationRequest(workspace_id=workspace)]
    ),
    "GetRegistration": lambda workspace, token: workspaces.GetRegistrationRequest(
        workspace_id=workspace
    ),
    "ListRegistrations": lambda workspace, token: workspaces.ListRegistrationsRequest(
        tenant_id="acme"
    ),
    "RetireWorkspace": lambda workspace, token: workspaces.RetireWorkspaceRequest(
        workspace_id=workspace
    ),
    "Diagnose": lambda workspace, token: workspaces.DiagnoseRequest(workspace_id=workspace),
    "GetSystemInfo": lambda workspace, token: system.GetSystemInfoRequest(),
    "ListAuditEvents": lambda workspace, token: audit.ListAuditEventsRequest(tenant_id="acme"),
}


def rightful(method: str) -> Metadata:
    """The credential that the contract wants for this method; none for those of the box."""
    name = short(method)
    if name in BOX_METHODS:
        return ()
    if name in {"ValidateToken", "BatchValidateTokens", "WatchRevocations"}:
        return VERIFIER
    return ADMIN if "Token" in name or name == "ListAuditEvents" else LAUNCHER


def call(
    channel: grpc.Channel,
    method: str,
    request: Message | bytes,
    metadata: Metadata = (),
    *,
    timeout: float = 10.0,
) -> bytes:
    """One call with these bytes, whatever they are; of a stream, the first message."""
    to: Any = channel  # without serializers, which the types do not foresee
    raw = request if isinstance(request, bytes) else request.SerializeToString()
    if short(method) in STREAMING:
        stream = to.unary_stream(method)(raw, timeout=timeout, metadata=metadata)
        first: bytes = next(iter(stream))
        stream.cancel()
        return first
    answer: bytes = to.unary_unary(method)(raw, timeout=timeout, metadata=metadata)
    return answer


class Failed:
    """How a call failed, as a client can read it."""

    def __init__(self, error: Any) -> None:
        trailing: dict[str, Any] = dict(error.trailing_metadata() or ())
        self.code: grpc.StatusCode = error.code()
        self.message: str = error.details()
        self.trailing = trailing
        self.reason = ""
        self.info: dict[str, str] = {}
        self.domain = ""
        self.fields: list[str] = []
        self.retry_seconds: float | None = None
        status = status_pb2.Status.FromString(trailing.get("grpc-status-details-bin", b""))
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            bad = error_details_pb2.BadRequest()
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                self.domain, self.info = info.domain, dict(info.metadata)
                self.reason = info.reason.removeprefix("ERROR_REASON_")
            elif detail.Unpack(bad):
                self.fields = [each.field for each in bad.field_violations]
            elif detail.Unpack(retry):
                self.retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()
        self.recovery = self.info.get("recovery", "")


def failed(work: Callable[[], object]) -> Failed:
    """The failure of a call that must fail."""
    try:
        answer = work()
    except grpc.RpcError as error:
        return Failed(error)
    raise AssertionError(f"answered {type(answer).__name__} instead of failing")
