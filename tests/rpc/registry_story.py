"""The steps of a workspace's life, as its control plane, its boxes and its operator take them."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from typing import Any

from agentworkspace.registry.v1 import registration_service_pb2 as box
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as tokens
from agentworkspace.registry.v1 import workspace_registry_service_pb2 as workspaces
from tests.rpc.registry_server import ADMIN, LAUNCHER, VERIFIER, Running, bearer

SECONDS = 20.0


def new_id() -> str:
    return str(uuid.uuid4())


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Workspace:
    """One workspace at one registry."""

    running: Running
    tenant_id: str = "acme"
    workspace_id: str = field(default_factory=new_id)

    # The control plane

    def admit(self, *, first_token: bool = False, ticket_required: bool = False) -> Any:
        request = workspaces.AdmitWorkspaceRequest(
            workspace_id=self.workspace_id,
            tenant_id=self.tenant_id,
            request_id=new_id(),
            ticket_required=ticket_required,
        )
        if first_token:
            request.first_token.label = "first"
        return self.running.workspaces.AdmitWorkspace(request, metadata=LAUNCHER, timeout=SECONDS)

    def launch(self, **more: Any) -> Any:
        request = workspaces.BeginIncarnationRequest(
            workspace_id=self.workspace_id, **{"request_id": new_id(), **more}
        )
        return self.running.workspaces.BeginIncarnation(request, metadata=LAUNCHER, timeout=SECONDS)

    def registration(self) -> Any:
        request = workspaces.GetRegistrationRequest(workspace_id=self.workspace_id)
        answer = self.running.workspaces.GetRegistration(
            request, metadata=LAUNCHER, timeout=SECONDS
        )
        return answer.registration

    def retire(self) -> Any:
        request = workspaces.RetireWorkspaceRequest(workspace_id=self.workspace_id)
        return self.running.workspaces.RetireWorkspace(request, metadata=LAUNCHER, timeout=SECONDS)

    # The box

    def register(self, token: str = "", *, ticket: str = "", **more: Any) -> Any:
        request = box.RegisterRequest(
            workspace_id=self.workspace_id, bootstrap_ticket=ticket, **more
        )
        return self.running.boxes.Register(request, metadata=_shown(token), timeout=SECONDS)

    def heartbeat(self, token: str = "", **more: Any) -> Any:
        request = box.HeartbeatRequest(workspace_id=self.workspace_id, **more)
        return self.running.boxes.Heartbeat(request, metadata=_shown(token), timeout=SECONDS)

    def update_card(self, token: str, **more: Any) -> Any:
        request = box.UpdateCardRequest(workspace_id=self.workspace_id, **more)
        return self.running.boxes.UpdateCard(request, metadata=_shown(token), timeout=SECONDS)

    def deregister(self, token: str) -> Any:
        request = box.DeregisterRequest(workspace_id=self.workspace_id)
        return self.running.boxes.Deregister(request, metadata=_shown(token), timeout=SECONDS)

    # The operator and the gateway

    def mint(self, **more: Any) -> Any:
        request = tokens.MintTokenRequest(
            workspace_id=self.workspace_id, **{"kind": token_pb2.TOKEN_KIND_API, **more}
        )
        return self.running.tokens.MintToken(request, metadata=ADMIN, timeout=SECONDS).issued

    def tokens(self, *, include_revoked: bool = False) -> Any:
        request = tokens.ListTokensRequest(
            workspace_id=self.workspace_id, include_revoked=include_revoked
        )
        return self.running.tokens.ListTokens(request, metadata=ADMIN, timeout=SECONDS).tokens

    def live_instance_tokens(self) -> list[Any]:
        return [each for each in self.tokens() if each.kind == token_pb2.TOKEN_KIND_INSTANCE]

    def revoke(self, token_id: str, **more: Any) -> Any:
        usual = {"reason": token_pb2.REVOKE_REASON_OPERATOR}
        request = tokens.RevokeTokenRequest(
            workspace_id=self.workspace_id, token_id=token_id, **(usual | more)
        )
        return self.running.tokens.RevokeToken(request, metadata=ADMIN, timeout=SECONDS)

    def revoke_all(self, **more: Any) -> Any:
        usual = {"reason": token_pb2.REVOKE_REASON_OPERATOR}
        request = tokens.RevokeWorkspaceTokensRequest(
            workspace_id=self.workspace_id, **(usual | more)
        )
        return self.running.tokens.RevokeWorkspaceTokens(request, metadata=ADMIN, timeout=SECONDS)

    def validate(self, token: str, **more: Any) -> Any:
        request = tokens.ValidateTokenRequest(
            token=token, **(more or {"workspace_id": self.workspace_id})
        )
        return self.running.tokens.ValidateToken(request, metadata=VERIFIER, timeout=SECONDS)

    def accepts(self, token: str) -> bool:
        return bool(self.validate(token).WhichOneof("result") == "principal")


def _shown(token: str) -> tuple[tuple[str, str], ...]:
    return bearer(token) if token else ()
