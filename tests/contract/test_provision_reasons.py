"""The domain's reasons, the wire's enum and the table between them are one and the same list."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import pytest

from agentworkspace.core.refusal import AnyReason, Recovery, Refusal, SharedReason, Violation
from agentworkspace.provision.v1 import error_reason_pb2
from provision_service.api import wire_enums
from provision_service.api.errors import MEANINGS, translate
from provision_service.domain.refusals import REASONS

PROTO = Path(error_reason_pb2.__file__).with_name("error_reason.proto")
NAMES = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
WIRE = {name for name in NAMES if not name.endswith("_UNSPECIFIED")}


def documented() -> dict[str, str]:
    """Full name of each value to the first word of its comment, which is its status code."""
    found: dict[str, str] = {}
    first_line = ""
    previous_was_comment = False
    for line in PROTO.read_text().splitlines():
        text = line.strip()
        if text.startswith("//"):
            if not previous_was_comment:
                first_line = text.removeprefix("//").strip()
            previous_was_comment = True
            continue
        previous_was_comment = False
        value = re.match(r"(ERROR_REASON_\w+) = \d+;", text)
        if value is not None and value[1] in WIRE:
            found[value[1]] = first_line.split(":")[0]
    return found


def test_the_domain_has_exactly_the_reasons_of_the_wire() -> None:
    assert {f"ERROR_REASON_{reason}" for reason in REASONS} == WIRE


def test_every_reason_has_a_meaning_and_every_meaning_a_reason() -> None:
    assert set(MEANINGS) == set(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_the_code_of_a_reason_is_the_first_word_of_its_comment(reason: AnyReason) -> None:
    assert MEANINGS[reason].code.name == documented()[f"ERROR_REASON_{reason}"]


def test_every_word_of_the_domain_has_a_number_and_every_number_a_word() -> None:
    for table in (
        wire_enums.REASON,
        wire_enums.STATUS,
        wire_enums.NEEDS_LAUNCH,
        wire_enums.LAUNCH_REASON,
        wire_enums.STATE,
        wire_enums.OUTCOME,
        wire_enums.VERDICT,
    ):
        numbers = [int(number) for number in table.values()]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_stop_is_said_of_a_removed_workspace_only() -> None:
    stops = {reason for reason, meaning in MEANINGS.items() if meaning.recovery is Recovery.STOP}
    assert stops == {SharedReason.WORKSPACE_REMOVED}


def test_a_refusal_travels_with_its_violations_and_their_fields() -> None:
    failure = translate(
        Refusal(
            SharedReason.INVALID_REQUEST,
            "the request is not well-formed: key",
            violations=[Violation("key", "must be short"), Violation("key", "must be plain")],
        )
    )
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.reason == "ERROR_REASON_INVALID_REQUEST"
    assert failure.metadata == {"fields": "key"}
    assert [each.description for each in failure.violations] == ["must be short", "must be plain"]


def test_an_unforeseen_fault_tells_the_client_nothing_of_itself() -> None:
    failure = translate(RuntimeError("password=hunter2 in SELECT"))
    assert failure.code is grpc.StatusCode.INTERNAL
    assert "hunter2" not in str(failure)
    assert "SELECT" not in repr(failure)
