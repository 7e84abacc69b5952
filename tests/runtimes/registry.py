"""The registry of the rig, as a box without a program and its operators call it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import sha256_hex
from agentworkspace.registry.v1 import (
    registration_service_pb2,
    registration_service_pb2_grpc,
    token_pb2,
    token_service_pb2,
    token_service_pb2_grpc,
    workspace_registry_service_pb2,
    workspace_registry_service_pb2_grpc,
)
from deploy.installation import Installation
from tests.runtimes.launches import BOX_TOKEN, OWN_KEY, Launched

_SECONDS = 30.0


class Registry:
    """What lets a box in, and every way in which its key at the proxy comes to its end."""

    def __init__(self, channel: grpc.Channel, admin: str) -> None:
        self._boxes = registration_service_pb2_grpc.RegistrationServiceStub(channel)
        self._tokens = token_service_pb2_grpc.TokenServiceStub(channel)
        self._workspaces = workspace_registry_service_pb2_grpc.WorkspaceRegistryServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {admin}"),)

    def register(self, box: Launched) -> None:
        request = registration_service_pb2.RegisterRequest(
            workspace_id=box.workspace,
            bootstrap_ticket=box.environment["WORKSPACE_BOOTSTRAP_TICKET"],
            token_sha256=sha256_hex(Secret(box.secrets[BOX_TOKEN])),
            request_id=str(uuid.uuid4()),
        )
        self._boxes.Register(request, timeout=_SECONDS)

    def revoke_the_key(self, box: Launched) -> None:
        self._revoke(box.secrets[OWN_KEY], token_pb2.REVOKE_REASON_OPERATOR)

    def find_the_key_stolen(self, box: Launched) -> None:
        self._revoke(box.secrets[OWN_KEY], token_pb2.REVOKE_REASON_COMPROMISED)

    def find_the_box_stolen(self, box: Launched) -> None:
        self._revoke(box.secrets[BOX_TOKEN], token_pb2.REVOKE_REASON_COMPROMISED)

    def suspend(self, box: Launched) -> None:
        request = token_service_pb2.RevokeWorkspaceTokensRequest(
            workspace_id=box.workspace, reason=token_pb2.REVOKE_REASON_SUSPENDED
        )
        self._call(self._tokens.RevokeWorkspaceTokens, request)

    def retire(self, box: Launched) -> None:
        request = workspace_registry_service_pb2.RetireWorkspaceRequest(workspace_id=box.workspace)
        self._call(self._workspaces.RetireWorkspace, request)

    def leave(self, box: Launched) -> None:
        self._boxes.Deregister(
            registration_service_pb2.DeregisterRequest(workspace_id=box.workspace),
            metadata=(("authorization", f"Bearer {box.secrets[BOX_TOKEN]}"),),
            timeout=_SECONDS,
        )

    def _revoke(self, token: str, reason: token_pb2.RevokeReason.ValueType) -> None:
        request = token_service_pb2.RevokeTokenRequest(token=token, reason=reason)
        self._call(self._tokens.RevokeToken, request)

    def _call(self, method: Any, request: object) -> None:
        method(request, metadata=self._metadata, timeout=_SECONDS)


@contextmanager
def calling_registry(address: str, installation: Installation) -> Iterator[Registry]:
    with grpc.insecure_channel(address) as channel:
        yield Registry(channel, installation.admin_token.read_text().strip())
