"""A reason is one thing: a value on the wire with an example, a meaning, a place that raises it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cache

import grpc
import pytest

from agentworkspace.core.refusal import AnyReason, Recovery, Refusal, SharedReason, Violation
from tests.contract.contracts import BOTH, ROOT, Contract

REASONS = [(each, reason) for each in BOTH for reason in each.reasons]


@cache
def sources() -> dict[str, str]:
    """Path to text of all that may raise a reason."""
    found = {}
    for room in ("protos/agentworkspace", "registry_service", "provision_service"):
        for path in (ROOT / room).rglob("*.py"):
            if "_pb2" not in path.name:
                found[path.relative_to(ROOT).as_posix()] = path.read_text()
    return found


@cache
def text_of_the_tests() -> str:
    """All tests but those that walk through every reason."""
    texts = (
        path.read_text()
        for path in (ROOT / "tests").rglob("*.py")
        if path.name != "test_reasons.py"
    )
    return "\n".join(texts)


@pytest.mark.parametrize("contract", BOTH, ids=str)
def test_domain_wire_and_meanings_list_the_same_reasons(contract: Contract) -> None:
    names = {reason.value for reason in contract.reasons}
    assert set(contract.documented_reasons()) == names
    assert set(contract.wire_enums.REASON) == set(contract.reasons)
    assert set(contract.meanings) == set(contract.reasons)


@pytest.mark.parametrize(("contract", "reason"), REASONS, ids=str)
def test_the_first_word_of_the_comment_is_the_code(contract: Contract, reason: AnyReason) -> None:
    comment = contract.documented_reasons()[reason.value]
    assert contract.meanings[reason].code is grpc.StatusCode[comment.partition(":")[0]]


@pytest.mark.parametrize(("contract", "reason"), REASONS, ids=str)
def test_the_example_is_what_the_service_would_send(contract: Contract, reason: AnyReason) -> None:
    found = re.search(r"\{.*\}", contract.documented_reasons()[reason.value])
    assert found is not None, "no example of an ErrorInfo"
    example = json.loads(found[0])
    failure = contract.translate(Refusal(reason, "a sentence"))
    assert example["reason"] == failure.reason == f"ERROR_REASON_{reason}"
    assert example["domain"] == failure.domain == f"agentworkspace.{contract.name}"


@pytest.mark.parametrize(
    ("contract", "reason"),
    REASONS,
    ids=str,
)
def test_some_place_raises_it(contract: Contract, reason: AnyReason) -> None:
    word = "SharedReason" if isinstance(reason, SharedReason) else "Reason"
    rooms = ("protos/agentworkspace/", f"{contract.name}_service/")
    # A table lists it before a colon; to stand there is not to be raised.
    raised = re.compile(rf"\b{word}\.{reason}\b(?!:)")
    assert [
        path for path, text in sources().items() if path.startswith(rooms) and raised.search(text)
    ]


@pytest.mark.parametrize(("contract", "reason"), REASONS, ids=str)
def test_some_test_asks_for_it(contract: Contract, reason: AnyReason) -> None:
    del contract
    assert re.search(rf"\b(?:ERROR_REASON_)?{reason}\b", text_of_the_tests())


@pytest.mark.parametrize("contract", BOTH, ids=str)
def test_a_box_is_stopped_by_default_only_where_nothing_can_let_it_in(contract: Contract) -> None:
    stops = {each for each, meaning in contract.meanings.items() if meaning.recovery == "STOP"}
    assert stops == contract.stops


@pytest.mark.parametrize("contract", BOTH, ids=str)
def test_a_refusal_may_name_another_recovery_than_its_reason(contract: Contract) -> None:
    stop = Refusal(SharedReason.BEARER_REJECTED, "replaced", recovery=Recovery.STOP)
    assert contract.translate(stop).recovery == "STOP"


@pytest.mark.parametrize("contract", BOTH, ids=str)
def test_violations_reach_the_client_field_by_field(contract: Contract) -> None:
    failure = contract.translate(
        Refusal(
            SharedReason.INVALID_REQUEST,
            "the request is not well-formed: key",
            violations=[Violation("key", "must be short"), Violation("key", "must be plain")],
        )
    )
    assert failure.metadata == {"fields": "key"}
    told = [(each.field, each.description) for each in failure.violations]
    assert told == [("key", "must be short"), ("key", "must be plain")]


@pytest.mark.parametrize("contract", BOTH, ids=str)
def test_an_unforeseen_fault_tells_the_client_nothing_of_itself(contract: Contract) -> None:
    failure = contract.translate(RuntimeError("password=hunter2 in SELECT"))
    assert failure.reason == "ERROR_REASON_INTERNAL"
    assert "hunter2" not in str(failure)
    assert "SELECT" not in repr(failure)


@pytest.mark.parametrize("contract", BOTH, ids=str)
def test_a_timeout_is_a_deadline(contract: Contract) -> None:
    assert contract.translate(TimeoutError()).reason == "ERROR_REASON_DEADLINE"


@pytest.mark.parametrize("contract", BOTH, ids=str)
def test_every_word_of_the_domain_has_a_number_and_every_number_a_word(contract: Contract) -> None:
    tables = {
        name: {int(number) for number in table.values()}
        for name, table in vars(contract.wire_enums).items()
        if isinstance(table, Mapping) and all(isinstance(word, StrEnum) for word in table)
    }
    gaps = {name: set(range(1, max(found) + 1)) - found for name, found in tables.items()}
    assert {name: gap for name, gap in gaps.items() if gap} == contract.reserved
