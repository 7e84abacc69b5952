"""RegistrationService: requests to commands."""

from __future__ import annotations

from typing import Final

from google.protobuf.struct_pb2 import Struct

from agentworkspace.core.public_urls import parse_destination
from agentworkspace.core.secret import Secret
from agentworkspace.registry.v1 import registration_service_pb2 as pb
from agentworkspace.rpc.calls import Call
from agentworkspace.server import documents
from registry_service.api import wire_enums
from registry_service.api.parse.fields import Fields, origin_of
from registry_service.commands.deregister import Deregister
from registry_service.commands.heartbeats import Heartbeat
from registry_service.commands.register import Register
from registry_service.commands.update_card import UpdateCard
from registry_service.commands.who_am_i import WhoAmI
from registry_service.domain.standing import BootstrapPolicy

LONGEST_RUNTIME: Final = 100
LONGEST_ERROR: Final = 1000
DEEPEST_CARD: Final = 24


def register(request: pb.RegisterRequest, call: Call, *, policy: BootstrapPolicy) -> Register:
    fields = Fields()
    command = Register(
        origin=origin_of(call, request.workspace_id),
        workspace_id=fields.workspace_id(request.workspace_id),
        policy=policy,
        bearer=call.bearer,
        ticket=Secret(request.bootstrap_ticket) if request.bootstrap_ticket else None,
        token_sha256=fields.sha256(request.token_sha256),
        request_id=fields.request_id(request.request_id),
        url=_url(fields, request.url),
        delivery_mode=fields.either(
            request.delivered_by,
            "delivered_by",
            wire_enums.DELIVERY_MODE_OF,
            text=request.delivery_mode,
            text_field="delivery_mode",
        )
        or "",
        agent_card=_card(fields, request.agent_card) if request.HasField("agent_card") else None,
        runtime=fields.text(request.runtime, "runtime", at_most=LONGEST_RUNTIME),
        runtime_version=fields.text(
            request.runtime_version, "runtime_version", at_most=LONGEST_RUNTIME
        ),
    )
    return fields.finish(command)


def heartbeat(request: pb.HeartbeatRequest, call: Call, *, policy: BootstrapPolicy) -> Heartbeat:
    fields = Fields()
    command = Heartbeat(
        workspace_id=fields.workspace_id(request.workspace_id),
        bearer=call.bearer,
        policy=policy,
        origin=origin_of(call, request.workspace_id),
        active_tasks=fields.at_least_zero(request.active_tasks, "active_tasks"),
        sample_error=fields.text(request.sample_error, "sample_error", at_most=LONGEST_ERROR),
        degraded=request.degraded,
    )
    return fields.finish(command)


def update_card(request: pb.UpdateCardRequest, call: Call) -> UpdateCard:
    fields = Fields()
    command = UpdateCard(
        origin=origin_of(call, request.workspace_id),
        workspace_id=fields.workspace_id(request.workspace_id),
        bearer=call.bearer,
        agent_card=_card(fields, request.agent_card) if request.HasField("agent_card") else None,
        url=_url(fields, request.url),
    )
    return fields.finish(command)


def deregister(request: pb.DeregisterRequest, call: Call) -> Deregister:
    fields = Fields()
    command = Deregister(
        origin=origin_of(call, request.workspace_id),
        workspace_id=fields.workspace_id(request.workspace_id),
        bearer=call.bearer,
    )
    return fields.finish(command)


def who_am_i(call: Call) -> WhoAmI:
    return WhoAmI(bearer=call.bearer, method=call.method, correlation_id=call.correlation_id)


def _card(fields: Fields, document: Struct) -> documents.Json:
    return documents.read(fields, document, "agent_card", deepest=DEEPEST_CARD)


def _url(fields: Fields, text: str) -> str:
    """The url, checked for its shape only; whether its host resolves is looked up later."""
    if text:
        destination = parse_destination(text)
        if isinstance(destination, str):
            fields.refuse("url", destination)
    return text
