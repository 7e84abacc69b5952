"""What a service raises is what a client of the generated stubs reads, detail by detail."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import grpc
import grpc_testing
import pytest

from agentworkspace.core.refusal import Recovery, Violation
from agentworkspace.registry.v1 import registration_service_pb2 as registration
from agentworkspace.registry.v1 import registration_service_pb2_grpc as registration_grpc
from agentworkspace.rpc.errors import RpcFailure, failure_from, public_message, to_trailing

SERVICE = registration.DESCRIPTOR.services_by_name["RegistrationService"]
WORKSPACE = "6b2f0f52-3c1e-4c53-9a55-0d5a4f6f1a10"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def received_by_a_client(failure: RpcFailure, pool: ThreadPoolExecutor) -> RpcFailure:
    """Play the server's part by hand: end one Register with `failure` as the edge would."""
    channel = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
    stub = registration_grpc.RegistrationServiceStub(channel)
    request = registration.RegisterRequest(workspace_id=WORKSPACE)
    call = pool.submit(stub.Register, request, timeout=5)
    _, received, rpc = channel.take_unary_unary(SERVICE.methods_by_name["Register"])
    assert received.workspace_id == WORKSPACE
    rpc.send_initial_metadata(())
    trailing = to_trailing(failure, "correlation-1")
    rpc.terminate(None, trailing, failure.code, public_message(failure))
    error = call.exception(timeout=5)
    assert isinstance(error, grpc.RpcError)
    return failure_from(error)


def test_a_refusal_keeps_reason_recovery_and_metadata(pool: ThreadPoolExecutor) -> None:
    sent = RpcFailure(
        grpc.StatusCode.FAILED_PRECONDITION,
        "agentworkspace.registry",
        "ERROR_REASON_INCARNATION_SUPERSEDED",
        "a newer incarnation of the workspace was launched",
        metadata={"incarnation": "4"},
        retry_after=timedelta(seconds=90),
        recovery=Recovery.RETRY,
    )
    read = received_by_a_client(sent, pool)
    assert read.code is grpc.StatusCode.FAILED_PRECONDITION
    assert read.domain == "agentworkspace.registry"
    assert read.reason == "ERROR_REASON_INCARNATION_SUPERSEDED"
    assert read.recovery == "RETRY"
    assert read.retry_after == timedelta(seconds=90)
    assert read.metadata["incarnation"] == "4"
    assert read.correlation_id == "correlation-1"


def test_a_bad_request_keeps_every_violation(pool: ThreadPoolExecutor) -> None:
    sent = RpcFailure(
        grpc.StatusCode.INVALID_ARGUMENT,
        "agentworkspace.registry",
        "ERROR_REASON_INVALID_REQUEST",
        "two fields are malformed",
        violations=[
            Violation("workspace_id", "not a canonical UUID"),
            Violation("token_sha256", "not 64 lower-case hex digits"),
        ],
        recovery=Recovery.FIX_REQUEST,
    )
    read = received_by_a_client(sent, pool)
    assert [violation.field for violation in read.violations] == ["workspace_id", "token_sha256"]
    assert read.recovery == "FIX_REQUEST"


def test_unavailable_always_says_when_to_come_back(pool: ThreadPoolExecutor) -> None:
    sent = RpcFailure(
        grpc.StatusCode.UNAVAILABLE,
        "agentworkspace.registry",
        "ERROR_REASON_STORE_UNAVAILABLE",
        "the store did not answer",
    )
    read = received_by_a_client(sent, pool)
    assert read.recovery == "RETRY"
    assert read.retry_after is not None
    assert read.retry_after > timedelta(0)
