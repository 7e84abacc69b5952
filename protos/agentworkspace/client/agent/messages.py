"""Turns the steps of a box's life into request messages, and response messages into answers."""

from __future__ import annotations

from typing import Final

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from agentworkspace.client.agent.launch import Announcement, Launch, Report
from agentworkspace.client.agent.steps import Admission, CallRegister, NextAction
from agentworkspace.registry.v1 import registration_service_pb2 as pb

# The timeout of every call. After it the call is repeated, although it may have been carried out.
CALL_SECONDS: Final = 10.0

_NEXT_ACTION: Final = {
    pb.NEXT_ACTION_REGISTER: NextAction.REGISTER,
    pb.NEXT_ACTION_STOP: NextAction.STOP,
}


def register_request(
    launch: Launch, announcement: Announcement, step: CallRegister
) -> pb.RegisterRequest:
    return pb.RegisterRequest(
        workspace_id=launch.workspace_id,
        bootstrap_ticket=step.ticket.reveal() if step.ticket else "",
        token_sha256=step.token_sha256,
        request_id=step.request_id,
        url=announcement.url,
        # As text, because registries older than this client do not know the enum.
        delivery_mode=announcement.delivery_mode,
        agent_card=card(announcement),
        runtime=announcement.runtime,
        runtime_version=announcement.runtime_version,
    )


def heartbeat_request(launch: Launch, report: Report) -> pb.HeartbeatRequest:
    return pb.HeartbeatRequest(
        workspace_id=launch.workspace_id,
        active_tasks=report.active_tasks,
        sample_error=report.shortened_error,
        degraded=report.degraded,
    )


def update_card_request(launch: Launch, announcement: Announcement) -> pb.UpdateCardRequest:
    return pb.UpdateCardRequest(
        workspace_id=launch.workspace_id, agent_card=card(announcement), url=announcement.url
    )


def admission(response: pb.RegisterResponse) -> Admission:
    name = pb.RegisterOutcome.Name(response.outcome) if _is_known(response.outcome) else ""
    return Admission(
        outcome=name.removeprefix("REGISTER_OUTCOME_"),
        incarnation=response.incarnation,
        heartbeat_interval=response.heartbeat_interval.ToTimedelta(),
    )


def next_action(response: pb.HeartbeatResponse) -> NextAction:
    """What the answer asks for; NONE for a value that this version does not know."""
    return _NEXT_ACTION.get(response.next_action, NextAction.NONE)


def card(announcement: Announcement) -> Struct | None:
    """The card as a Struct. google.protobuf.json_format.ParseError when it is not JSON data."""
    if announcement.agent_card is None:
        return None
    return ParseDict(dict(announcement.agent_card), Struct())


def _is_known(outcome: int) -> bool:
    return outcome in pb.RegisterOutcome.values()
