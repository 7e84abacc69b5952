"""The checks themselves, fed with all that must not pass, and with the one thing that may."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from tests.e2e.boxes import Reply
from tests.e2e.upstreams import Call
from tests.e2e.verdict import Expected, NotProven, prove, prove_silence

QUESTION: Final = "What is 2 plus 3? Answer with the number alone."
EXPECTED: Final = Expected(
    question=QUESTION,
    answer="5",
    upstream="api.anthropic.com",
    port=7001,
    path="/v1/messages",
    model="opus",
    credential="own-token",
    workspace_id="",
)
CALL: Final = Call(
    upstream="api.anthropic.com",
    path="/v1/messages",
    question=QUESTION,
    model="opus",
    authorization="Bearer own-token",
    api_key="",
    workspace_id="",
)
REPLY: Final = Reply(text="5", contacted=(("127.0.0.1", 7001),))


def refused(reply: Reply = REPLY, calls: Sequence[Call] = (CALL,), **changes: Any) -> str:
    with pytest.raises(NotProven) as error:
        prove(reply, calls, replace(EXPECTED, **changes))
    return str(error.value)


def test_the_known_answer_by_the_right_way_passes() -> None:
    prove(REPLY, [CALL], EXPECTED)
    prove(REPLY, [replace(CALL, authorization="", api_key="own-token")], EXPECTED)


@pytest.mark.parametrize(
    "text",
    [
        "Agent error (Exception): the provider refused the call",
        "Agent error (AuthenticationError) 5",
        "Exception: no route to host",
        "Traceback (most recent call last): …",
        json.dumps({"type": "result", "subtype": "error_during_execution", "is_error": True}),
        json.dumps({"error": {"code": -32603, "message": "Internal error"}}),
        "MISSING_BYOK_CREDENTIAL: claude-code has no credential",
        "Not logged in · Please run /login",
        "Invalid API key · Fix external API key",
        "API Error: 401 Unauthorized",
    ],
)
def test_an_error_as_text_is_refused_even_if_the_call_was_right(text: str) -> None:
    assert "an error in the shape of an answer" in refused(replace(REPLY, text=text))


@pytest.mark.parametrize("text", ["", " ", "6", "55", "The answer is 5", "five", "I cannot say."])
def test_an_answer_that_is_not_the_known_one_is_refused(text: str) -> None:
    assert "the answer" in refused(replace(REPLY, text=text))


def test_an_answer_without_a_call_is_refused() -> None:
    assert "the number of calls: 0" in refused(calls=())


def test_a_second_call_is_refused() -> None:
    assert "the number of calls: 2" in refused(calls=(CALL, CALL))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"question": "What is 2 plus 4? Answer with the number alone."}, "the question"),
        ({"upstream": "api.minimax.io"}, "the upstream"),
        ({"path": "/anthropic/v1/messages"}, "the path"),
        ({"model": "sonnet"}, "the model"),
        ({"authorization": "Bearer usage-token"}, "another credential"),
        ({"authorization": ""}, "another credential"),
        ({"api_key": "second-key"}, "another credential"),
        ({"workspace_id": "somebody"}, "the workspace header"),
    ],
)
def test_a_call_that_differs_in_one_thing_is_refused(change: dict[str, str], said: str) -> None:
    assert said in refused(calls=(replace(CALL, **change),))


def test_a_missing_workspace_header_is_refused() -> None:
    assert "the workspace header" in refused(workspace_id="a-workspace")


@pytest.mark.parametrize("address", [("127.0.0.1", 7002), ("api.openai.com", 443)])
def test_an_address_beside_the_right_one_is_refused(address: tuple[str, int]) -> None:
    assert "other addresses" in refused(replace(REPLY, contacted=(*REPLY.contacted, address)))


def test_no_refusal_shows_a_credential() -> None:
    said = refused(calls=(replace(CALL, authorization="Bearer another-secret"),))
    assert "another-secret" not in said
    assert "own-token" not in said
    assert "own-token" not in repr(EXPECTED)


def test_silence_is_proven_by_silence_only() -> None:
    silent = Reply(text="no model")
    prove_silence(silent, [])
    for reply, calls in (
        (silent, [CALL]),
        (replace(silent, contacted=(("127.0.0.1", 1),)), []),
        (Reply(text="5"), []),
        (Reply(text="Agent error (KeyError): 'MODEL'"), []),
        (Reply(text=""), []),
    ):
        with pytest.raises(NotProven):
            prove_silence(reply, calls)
