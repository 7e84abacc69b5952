"""A registry for boxes on loopback: the real admission table, on the wire, with faults to order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from typing_extensions import override

from agentworkspace.client.agent.steps import Admission, NextAction
from agentworkspace.core.refusal import Recovery
from agentworkspace.core.secret import Secret
from agentworkspace.registry.v1 import registration_service_pb2 as pb
from agentworkspace.registry.v1.registration_service_pb2_grpc import (
    RegistrationServiceServicer,
    add_RegistrationServiceServicer_to_server,
)
from agentworkspace.rpc import call_metadata
from agentworkspace.rpc.errors import RpcFailure, to_trailing
from registry_service.domain.tokens import RevokeReason
from tests.rpc.agent_model_registry import ModelRegistry

DOWN = RpcFailure(
    grpc.StatusCode.UNAVAILABLE,
    "agentworkspace.registry",
    "ERROR_REASON_STORE_UNAVAILABLE",
    "no store",
)


GONE = RpcFailure(
    grpc.StatusCode.UNAUTHENTICATED,
    "agentworkspace.registry",
    "ERROR_REASON_BEARER_REJECTED",
    "not a live token",
    recovery=Recovery.REGISTER,
)


@dataclass
class BoxRegistry(RegistrationServiceServicer):
    """Serves a ModelRegistry. `lose`: so many answers are lost after the call was carried out;
    `down`: so many calls are refused before it is."""

    model: ModelRegistry = field(default_factory=ModelRegistry)
    heartbeat_seconds: float = 0.05
    lose: int = 0
    down: int = 0
    registers: list[pb.RegisterRequest] = field(default_factory=list)
    heartbeats: list[pb.HeartbeatRequest] = field(default_factory=list)
    cards: list[pb.UpdateCardRequest] = field(default_factory=list)
    port: int = 0
    beat: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @override
    async def Register(self, request: pb.RegisterRequest, context: Any) -> pb.RegisterResponse:
        self.registers.append(request)
        bearer = _bearer(context)
        ticket = Secret(request.bootstrap_ticket) if request.bootstrap_ticket else None
        answer = await self._carried_out(
            context,
            lambda: self.model.register(bearer, ticket, request.token_sha256, request.request_id),
        )
        assert isinstance(answer, Admission)
        response = pb.RegisterResponse(
            outcome=pb.RegisterOutcome.Value(f"REGISTER_OUTCOME_{answer.outcome}"),
            incarnation=answer.incarnation,
        )
        response.heartbeat_interval.FromMilliseconds(int(self.heartbeat_seconds * 1000))
        return response

    @override
    async def Heartbeat(self, request: pb.HeartbeatRequest, context: Any) -> pb.HeartbeatResponse:
        self.heartbeats.append(request)
        bearer = _bearer(context)
        assert bearer is not None
        answer = await self._carried_out(context, lambda: self.model.heartbeat(bearer))
        self.beat.set()
        return pb.HeartbeatResponse(next_action=pb.NextAction.Value(f"NEXT_ACTION_{answer.name}"))

    @override
    async def UpdateCard(
        self, request: pb.UpdateCardRequest, context: Any
    ) -> pb.UpdateCardResponse:
        self.cards.append(request)
        bearer = _bearer(context)
        answer = self.model.heartbeat(bearer) if bearer is not None else None
        if answer is not NextAction.NONE:
            await _abort(context, GONE)
        return pb.UpdateCardResponse()

    @override
    async def Deregister(
        self, request: pb.DeregisterRequest, context: Any
    ) -> pb.DeregisterResponse:
        self.model.revoke(RevokeReason.OPERATOR)
        return pb.DeregisterResponse()

    @override
    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Any) -> pb.WhoAmIResponse:
        raise NotImplementedError

    async def until_beats(self, more: int = 2) -> None:
        """Wait for so many further heartbeats."""
        goal = len(self.heartbeats) + more
        while len(self.heartbeats) < goal:
            self.beat.clear()
            await asyncio.wait_for(self.beat.wait(), 20)

    async def _carried_out(self, context: Any, call: Callable[[], Any]) -> Any:
        if self.down > 0:
            self.down -= 1
            await _abort(context, DOWN)
        answer = call()
        if isinstance(answer, RpcFailure):
            await _abort(context, answer)
        if self.lose > 0:
            self.lose -= 1
            await context.abort(grpc.StatusCode.UNKNOWN, "the connection was lost")
        return answer


@asynccontextmanager
async def serving(
    registry: BoxRegistry, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[BoxRegistry]:
    server = grpc.aio.server()
    add_RegistrationServiceServicer_to_server(registry, server)
    address = "127.0.0.1:0"
    if credentials is None:
        registry.port = server.add_insecure_port(address)
    else:
        registry.port = server.add_secure_port(address, credentials)
    await server.start()
    try:
        yield registry
    finally:
        await server.stop(None)


def _bearer(context: Any) -> Secret | None:
    call_metadata.arrive(context.invocation_metadata())
    text, _, _ = call_metadata.read()
    return Secret(text) if text else None


async def _abort(context: Any, failure: RpcFailure) -> None:
    await context.abort(failure.code, failure.message, to_trailing(failure, "test"))
