"""What a completion must show before it counts: the answer, and the record at the upstream.

The shape of a reply proves nothing: a broken agent says `Agent error (Exception) …` in the same
shape, and a check that looked no further once let it pass.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.e2e.boxes import Reply
from tests.e2e.upstreams import Call

ERRORS_AS_TEXT: Final = re.compile(
    r"agent error|exception|traceback|\berror\b|is_error|MISSING_BYOK_CREDENTIAL"
    r"|not logged in|/login|unauthorized|invalid.{0,12}key|refused",
    re.IGNORECASE,
)
WITHOUT_A_MODEL: Final = "no model"


class NotProven(AssertionError):
    """The completion does not count; the text says which of the demands it misses."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """One call, to this path of this upstream, with this credential and no other."""

    question: str
    answer: str
    upstream: str
    port: int
    path: str
    model: str
    credential: str = field(repr=False)
    # Whose header has to come along; empty: no such header may.
    workspace_id: str = ""


def prove(reply: Reply, calls: Sequence[Call], expected: Expected) -> None:
    """Raise NotProven unless the answer is the known one and came by the one right way."""
    _refuse_error_as_text(reply.text)
    _demand("the answer", reply.text.strip(), expected.answer)
    _demand("the number of calls", len(calls), 1)
    (call,) = calls
    _demand("the question", call.question, expected.question)
    _demand("the upstream", call.upstream, expected.upstream)
    _demand("the path", call.path, expected.path)
    _demand("the model", call.model, expected.model)
    if call.credentials != (expected.credential,):
        raise NotProven(f"{call.upstream} got another credential than the one expected, or two")
    _demand("the workspace header", call.workspace_id, expected.workspace_id)
    elsewhere = set(reply.contacted) - {("127.0.0.1", expected.port)}
    _demand("other addresses contacted", sorted(elsewhere), [])


def prove_silence(reply: Reply, calls: Sequence[Call]) -> None:
    """Raise NotProven unless the box is well and went nowhere."""
    _refuse_error_as_text(reply.text)
    _demand("the reply", reply.text, WITHOUT_A_MODEL)
    _demand("the calls", list(calls), [])
    _demand("addresses contacted", list(reply.contacted), [])


def _refuse_error_as_text(text: str) -> None:
    found = ERRORS_AS_TEXT.search(text)
    if found:
        raise NotProven(f"an error in the shape of an answer: …{found[0]}…: {text[:300]}")


def _demand(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise NotProven(f"{what}: {found!r} instead of {wanted!r}")
