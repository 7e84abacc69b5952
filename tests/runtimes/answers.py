"""What a model's host says, in every protocol that the programs speak, as far as they read it.

The answer is always the same known text, so that a program that prints it has really been answered
by a host of the rig.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from tests.runtimes.arrivals import Arrival

KNOWN: Final = "KNOWN-ANSWER-7351"
# Codex asks which of its subscriber's accounts is where before it asks a model.
ACCOUNT: Final = "account-of-the-rig"
_ACCOUNTS: Final = {
    "accounts": [
        {
            "id": ACCOUNT,
            "structure": "personal",
            "workspace_backend_origin": "https://chatgpt.com",
            "account_routing_override": "NO_CONSTRAINT",
        }
    ],
    "account_ordering": [ACCOUNT],
    "default_account_id": ACCOUNT,
}
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"


class Answer(NamedTuple):
    status: int
    kind: str
    content: bytes


Answering = Callable[[Arrival], Answer]


def answer_to(arrival: Arrival) -> Answer:
    """The answer to one request; 404 for what no model's host is asked for."""
    method, body = arrival.method, arrival.document
    path, _, query = arrival.target.partition("?")
    if method == "POST":
        for ending, say in _PROTOCOLS.items():
            if path.endswith(ending):
                return say(body, wants_stream(path, query, body))
    if method == "GET" and path.endswith("/models"):
        return _json({"object": "list", "data": [], "models": []})
    if method == "GET" and path.endswith("/wham/accounts/check"):
        return _json(_ACCOUNTS)
    return error(404, "not_found", "Nothing here.")


def error(status: int, kind: str, message: str) -> Answer:
    """A refusal as every protocol words it."""
    return _json({"type": "error", "error": {"type": kind, "message": message}}, status)


def wants_stream(path: str, query: str, body: dict[str, Any]) -> bool:
    """Whether the caller reads events: said in the body, in the path, or in the query."""
    return bool(body.get("stream")) or ":stream" in path or "alt=sse" in query


def _messages(body: dict[str, Any], stream: bool) -> Answer:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", ""),
        "content": [{"type": "text", "text": KNOWN}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    if not stream:
        return _json(message)
    return _events(
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": KNOWN},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    )


def _count(_body: dict[str, Any], _stream: bool) -> Answer:
    return _json({"input_tokens": 1})


def _chat(body: dict[str, Any], stream: bool) -> Answer:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    head = {"id": "chatcmpl-1", "created": 1, "model": body.get("model", "")}
    said = {"role": "assistant", "content": KNOWN}
    if not stream:
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        return _json({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
    head["object"] = "chat.completion.chunk"
    chunks = (
        {**head, "choices": [{"index": 0, "delta": said, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage},
    )
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return Answer(200, _EVENTS, "".join([*lines, "data: [DONE]\n\n"]).encode())


def _responses(body: dict[str, Any], stream: bool) -> Answer:
    part = {"type": "output_text", "text": KNOWN, "annotations": []}
    item = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    response = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": body.get("model", ""),
        "status": "completed",
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "usage": {
            "input_tokens": 1,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 2,
        },
    }
    if not stream:
        return _json(response)
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **place, "delta": KNOWN, "logprobs": []},
        {"type": "response.output_text.done", **place, "text": KNOWN, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response},
    ]
    return _events(*({**event, "sequence_number": n} for n, event in enumerate(events)))


def _gemini(_body: dict[str, Any], stream: bool) -> Answer:
    said = {
        "candidates": [
            {
                "index": 0,
                "content": {"role": "model", "parts": [{"text": KNOWN}]},
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 1,
            "candidatesTokenCount": 1,
            "totalTokenCount": 2,
        },
    }
    return Answer(200, _EVENTS, _event(said).encode()) if stream else _json(said)


_PROTOCOLS: Final = {
    "/messages": _messages,
    "/messages/count_tokens": _count,
    "/chat/completions": _chat,
    "/responses": _responses,
    ":generateContent": _gemini,
    ":streamGenerateContent": _gemini,
    ":rawPredict": _messages,
    ":streamRawPredict": _messages,
}


def _json(document: object, status: int = 200) -> Answer:
    return Answer(status, _JSON, json.dumps(document).encode())


def _events(*events: dict[str, Any]) -> Answer:
    return Answer(200, _EVENTS, "".join(_named(events)).encode())


def _named(events: Iterable[dict[str, Any]]) -> Iterable[str]:
    return (f"event: {event['type']}\n{_event(event)}" for event in events)


def _event(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event)}\n\n"
