"""RegistrationService: results to responses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from agentworkspace.registry.v1 import registration_service_pb2 as pb
from agentworkspace.rpc.wire_times import duration
from registry_service.api import wire_enums
from registry_service.api.render import tokens
from registry_service.commands.heartbeats import Heartbeaten
from registry_service.commands.register import Registered
from registry_service.commands.who_am_i import Identified


def registered(
    answer: Registered, heartbeat_interval: timedelta, warnings: Sequence[pb.Warning]
) -> pb.RegisterResponse:
    return pb.RegisterResponse(
        outcome=wire_enums.OUTCOME[answer.outcome],
        auth_token=answer.auth_token.reveal() if answer.auth_token else "",
        token=tokens.token(answer.token),
        incarnation=answer.incarnation,
        heartbeat_interval=duration(heartbeat_interval),
        line=answer.line.value,
        admission_line=wire_enums.LINE[answer.line],
        warnings=warnings,
    )


def url_unresolved(url: str) -> pb.Warning:
    return pb.Warning(
        code="URL_UNRESOLVED",
        message="the name servers did not find the url's host in time, so the url was not stored; "
        "announce it again with UpdateCard once the name resolves",
        metadata={"url": url},
    )


def heartbeaten(answer: Heartbeaten) -> pb.HeartbeatResponse:
    return pb.HeartbeatResponse(
        next_action=wire_enums.NEXT_ACTION[answer.next_action], incarnation=answer.incarnation
    )


def identified(answer: Identified) -> pb.WhoAmIResponse:
    return pb.WhoAmIResponse(principal=tokens.principal(answer.principal))
