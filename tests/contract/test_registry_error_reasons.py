"""The reasons of the domain, the enum on the wire and the codes in its comments are one list."""

from __future__ import annotations

import json
import re
from pathlib import Path

import grpc
import pytest

from agentworkspace.core.refusal import AnyReason, Recovery, Refusal, SharedReason, Violation
from agentworkspace.registry.v1.error_reason_pb2 import ErrorReason
from registry_service.api import errors, wire_enums
from registry_service.domain.refusals import REASONS, Reason

PROTO = Path(__file__).resolve().parents[2] / "protos/agentworkspace/registry/v1/error_reason.proto"
VALUE = re.compile(
    r"(?P<comment>(?:[ \t]*//[^\n]*\n)+)[ \t]*ERROR_REASON_(?P<name>\w+) = (?P<number>\d+);"
)


def documented() -> dict[str, str]:
    """Short name to comment, without the unspecified value."""
    found = {
        match["name"]: " ".join(
            line.strip().removeprefix("//").strip()
            for line in match["comment"].strip().splitlines()
        )
        for match in VALUE.finditer(PROTO.read_text())
        if match["number"] != "0"
    }
    assert found
    return found


def test_every_reason_of_the_domain_has_a_number_and_every_number_a_reason() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118 - no mapping
    assert names - {"UNSPECIFIED"} == {reason.value for reason in REASONS}
    assert set(wire_enums.REASON) == set(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_the_code_is_the_first_word_of_the_comment(reason: AnyReason) -> None:
    code = documented()[reason.value].partition(":")[0]
    assert errors.MEANINGS[reason].code is grpc.StatusCode[code]


@pytest.mark.parametrize("reason", REASONS)
def test_the_example_in_the_comment_is_what_the_service_would_send(reason: AnyReason) -> None:
    example = json.loads(re.search(r"\{.*\}", documented()[reason.value])[0])  # type: ignore[index]
    failure = errors.translate(Refusal(reason, "a sentence"))
    assert example["reason"] == failure.reason
    assert example["domain"] == failure.domain


def test_only_a_retired_or_suspended_workspace_stops_a_box_by_default() -> None:
    stops = {each for each, meaning in errors.MEANINGS.items() if meaning.recovery is Recovery.STOP}
    assert stops == {SharedReason.WORKSPACE_REMOVED, Reason.WORKSPACE_SUSPENDED}


def test_a_refusal_may_name_another_recovery_than_its_reason() -> None:
    stop = Refusal(Reason.INCARNATION_SUPERSEDED, "replaced", recovery=Recovery.STOP)
    assert errors.translate(stop).recovery == "STOP"
    assert errors.translate(Refusal(Reason.INCARNATION_SUPERSEDED, "soon")).recovery == "RETRY"


def test_violations_reach_the_client_field_by_field() -> None:
    refusal = Refusal(
        SharedReason.INVALID_REQUEST,
        "no",
        violations=[Violation("url", "bad"), Violation("kind", "bad")],
    )
    told = errors.translate(refusal).violations
    assert [(each.field, each.description) for each in told] == [("url", "bad"), ("kind", "bad")]


def test_the_text_of_an_unforeseen_error_stays_inside() -> None:
    failure = errors.translate(ValueError("INSERT INTO tokens … hunter2"))
    assert failure.code is grpc.StatusCode.INTERNAL
    assert failure.reason == "ERROR_REASON_INTERNAL"
    assert "hunter2" not in failure.message


def test_a_timeout_is_a_deadline() -> None:
    assert errors.translate(TimeoutError()).code is grpc.StatusCode.DEADLINE_EXCEEDED
