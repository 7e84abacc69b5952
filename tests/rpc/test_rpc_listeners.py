"""A control plane with a listener of its own: the boxes' does not answer its methods at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from agentworkspace.rpc.policy import INFRASTRUCTURE, Lane, Listener, Rule
from provision_service.api.policy import POLICY as PROVISION
from registry_service.api.policy import POLICY as REGISTRY
from tests.rpc.echo_server import (
    COUNT,
    LAUNCH,
    LAUNCHER_SECRET,
    SAY,
    SERVICE,
    Parts,
    failure_of,
    serving,
    story,
)

StatusCode = grpc.StatusCode
POLICY = {
    SAY: Rule(bearer_allowed=True, anonymous_allowed=True, lane=Lane.AGENT),
    COUNT: Rule(roles=frozenset({"verifier"}), lane=Lane.CHECK),
    LAUNCH: Rule(roles=frozenset({"launcher"}), bearer_allowed=True),
}
BOXES_AT_THE_REGISTRY = {
    "RegistrationService/Register",
    "RegistrationService/Heartbeat",
    "RegistrationService/UpdateCard",
    "RegistrationService/Deregister",
    "RegistrationService/WhoAmI",
    "TokenService/RotateToken",
    "TokenService/RevokeToken",
}
BOXES_AT_PROVISION = {
    "SecretService/GetSecretValues",
    "CatalogueService/ListProviders",
    "CatalogueService/ListRuntimes",
    "CatalogueService/ListModels",
    "CatalogueService/DeriveProvider",
}


def answered(policy: Any, listener: Listener) -> set[str]:
    return {
        name.rpartition(".")[2]
        for name, rule in policy.items()
        if name not in INFRASTRUCTURE and rule.at(listener) is not None
    }


def test_the_boxes_listener_answers_what_workspace_tokens_may_call() -> None:
    assert answered(REGISTRY, Listener.BOXES) == BOXES_AT_THE_REGISTRY
    assert answered(PROVISION, Listener.BOXES) == BOXES_AT_PROVISION


def test_the_control_planes_listener_answers_all_but_what_only_boxes_call() -> None:
    everything = {name.rpartition(".")[2] for name in REGISTRY if name not in INFRASTRUCTURE}
    only_boxes = {name for name in BOXES_AT_THE_REGISTRY if name.startswith("Registration")}
    assert answered(REGISTRY, Listener.CONTROL) == everything - only_boxes
    assert "SecretService/GetSecretValues" not in answered(PROVISION, Listener.CONTROL)
    assert "CatalogueService/ListModels" in answered(PROVISION, Listener.CONTROL)


@pytest.mark.parametrize("policy", [REGISTRY, PROVISION], ids=["registry", "provision"])
def test_every_method_is_answered_somewhere(policy: Any) -> None:
    for rule in policy.values():
        assert rule.at(Listener.BOXES) or rule.at(Listener.CONTROL)


@pytest.mark.parametrize("policy", [REGISTRY, PROVISION], ids=["registry", "provision"])
def test_no_role_counts_at_the_boxes_listener_and_no_token_at_the_other(policy: Any) -> None:
    for name, rule in policy.items():
        if name in INFRASTRUCTURE:
            continue
        of_boxes, of_control = rule.at(Listener.BOXES), rule.at(Listener.CONTROL)
        assert of_boxes is None or not (of_boxes.roles or of_boxes.any_caller)
        assert of_control is None or not (of_control.bearer_allowed or of_control.anonymous_allowed)


@asynccontextmanager
async def two_listeners(**options: Any) -> AsyncIterator[tuple[Parts, Parts]]:
    """The boxes' and the control plane's."""
    listeners = {"control_listen": "127.0.0.1:0"}
    async with serving(policy=POLICY, server=listeners, **options) as boxes:
        port = boxes.server.control_port
        assert port
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield boxes, Parts(boxes.edge, boxes.server, channel, port, boxes.log, boxes.metrics)


@story
async def test_each_listener_answers_its_own_methods_and_no_others() -> None:
    async with two_listeners() as (boxes, control):
        assert (await boxes.say()).value == "hello"
        assert (await control.launch(bearer=LAUNCHER_SECRET)).value == "hello"
        for unanswered in (control.say(), boxes.raw(COUNT, b"", bearer=LAUNCHER_SECRET)):
            failure = await failure_of(unanswered)
            assert (failure.code, failure.reason) == (StatusCode.UNIMPLEMENTED, "")


@story
async def test_a_token_is_known_at_the_boxes_listener_and_a_caller_at_the_other() -> None:
    async with two_listeners() as (boxes, control):
        assert (await boxes.launch(bearer="a token")).value == "hello"
        refused = await failure_of(control.launch(bearer="a token"))
        assert refused.reason == "ERROR_REASON_CREDENTIAL_REJECTED"
        # What it shows there is no token: for the command to say.
        assert (await boxes.launch(bearer=LAUNCHER_SECRET)).value == "hello"


@story
async def test_boxes_have_a_limit_of_their_own() -> None:
    async with two_listeners(max_request_bytes=1024 * 1024) as (boxes, control):
        large = "x" * 300 * 1024
        assert (await control.launch(large, bearer=LAUNCHER_SECRET)).value == large
        failure = await failure_of(boxes.say(large))
    assert failure.reason == "ERROR_REASON_REQUEST_TOO_LARGE"
    assert failure.metadata == {"limit_bytes": "262144"}


@story
async def test_calls_are_counted_once_whichever_listener_they_came_to() -> None:
    async with two_listeners() as (boxes, control):
        await boxes.launch(bearer="a token")
        await control.launch(bearer=LAUNCHER_SECRET)
        for caller in ("launcher", "token"):
            labels = {"method": LAUNCH, "caller": caller, "code": "OK", "reason": ""}
            assert boxes.metrics.get_sample_value("agentworkspace_rpc_calls_total", labels) == 1


@story
async def test_both_listeners_tell_the_same_health_and_stop_together() -> None:
    async with two_listeners() as (boxes, control):
        await boxes.server.set_health(serving=True)
        for each in (boxes, control):
            stub: Any = health_pb2_grpc.HealthStub(each.channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=20)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        await boxes.server.stop()
        for call in (boxes.say(timeout=1), control.launch(timeout=1, bearer=LAUNCHER_SECRET)):
            assert (await failure_of(call)).code in (
                StatusCode.UNAVAILABLE,
                StatusCode.DEADLINE_EXCEEDED,
            )


async def reflected(parts: Parts, **request: Any) -> Any:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("Any", parts.channel))

    async def requests() -> AsyncIterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(**request)

    return await anext(aiter(stub.ServerReflectionInfo(requests(), timeout=20)))


async def methods_shown(parts: Parts) -> set[str]:
    answer = await reflected(parts, file_containing_symbol=SERVICE)
    files = map(
        FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto
    )
    return {each.name for file in files for service in file.service for each in service.method}


@story
async def test_reflection_shows_what_a_listener_answers() -> None:
    async with two_listeners() as (boxes, control):
        assert await methods_shown(boxes) == {"Say", "Launch"}
        assert await methods_shown(control) == {"Count", "Launch"}


@story
async def test_a_service_without_a_method_is_not_listed() -> None:
    control_only = dict.fromkeys(POLICY, Rule(roles=frozenset({"admin"})))
    listeners = {"control_listen": "127.0.0.1:0"}
    async with serving(policy=control_only, server=listeners) as boxes:
        answer = await reflected(boxes, list_services="")
        unknown = await reflected(boxes, file_containing_symbol=SERVICE)
    listed = {each.name for each in answer.list_services_response.service}
    assert listed == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert unknown.error_response.error_code == StatusCode.NOT_FOUND.value[0]


@pytest.mark.parametrize(
    "symbol",
    ["google.rpc.ErrorInfo", "google.rpc.RetryInfo", "grpc.health.v1.Health"],
)
@story
async def test_what_a_failure_carries_is_described(symbol: str) -> None:
    async with serving() as parts:
        answer = await reflected(parts, file_containing_symbol=symbol)
    assert answer.file_descriptor_response.file_descriptor_proto
