"""Local upstreams that stand for the platform's proxy and for vendors, and record every call.

An upstream solves the sum it is asked for, so that an answer is known beforehand and can come from
nowhere else; it takes any credential, because the record, not the upstream, is what is checked.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

WORKSPACE_HEADER: Final = "x-molecule-workspace-id"
_SUM: Final = re.compile(r"What is (\d+) plus (\d+)\?")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request as it arrived. `question` is empty when it asked for no sum."""

    upstream: str
    path: str
    question: str
    model: str
    authorization: str
    api_key: str
    workspace_id: str

    @property
    def credentials(self) -> tuple[str, ...]:
        """Every credential that came along, whatever header carried it."""
        both = (self.authorization.removeprefix("Bearer "), self.api_key)
        return tuple(each for each in both if each)


@dataclass
class Upstreams:
    """Where each one listens, by the name of the host that it stands for, and what came in."""

    ports: dict[str, int] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def url(self, name: str, path: str = "") -> str:
        return f"http://127.0.0.1:{self.ports[name]}{path}"

    def asked(self, question: str) -> list[Call]:
        """The calls that carried this question, at whatever upstream."""
        return [call for call in list(self.calls) if call.question == question]


def question_of(number: int) -> str:
    """A sum that no other box is asked for."""
    return f"What is {number} plus {10_000_000 + 7 * number}? Answer with the number alone."


def answer_to(text: str) -> str:
    """The known answer; empty when `text` asks for no sum."""
    found = _SUM.search(text)
    return str(int(found[1]) + int(found[2])) if found else ""


@contextmanager
def running_upstreams(names: Sequence[str]) -> Iterator[Upstreams]:
    """One server for each name, on ports of their own as vendors have hosts of their own."""
    upstreams = Upstreams()
    with ExitStack() as stack:
        for name in names:
            upstreams.ports[name] = stack.enter_context(_running(name, upstreams.calls))
        yield upstreams


@contextmanager
def _running(name: str, calls: list[Call]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are two writes; without this each answer waits for an acknowledgement.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self._body()
            question = _last_sum(body)
            calls.append(self._call(question, str(body.get("model", ""))))
            answer = answer_to(question) or "I am not asked for a sum."
            path = self.path.partition("?")[0]
            if path.endswith("/messages"):
                self._say(*_anthropic(body, answer))
            elif path.endswith("/chat/completions"):
                self._say("application/json", _openai(body, answer))
            else:
                self._say("application/json", "{}", 404)

        def do_GET(self) -> None:
            calls.append(self._call("", ""))
            self._say("application/json", "{}", 404)

        do_HEAD = do_GET  # noqa: N815 - the standard library's name

        def _body(self) -> dict[str, Any]:
            found = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
            return found if isinstance(found, dict) else {}

        def _call(self, question: str, model: str) -> Call:
            return Call(
                upstream=name,
                path=self.path.partition("?")[0],
                question=question,
                model=model,
                authorization=self.headers.get("authorization") or "",
                api_key=self.headers.get("x-api-key") or "",
                workspace_id=self.headers.get(WORKSPACE_HEADER) or "",
            )

        def _say(self, kind: str, text: str, status: int = 200) -> None:
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2})
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def _last_sum(body: dict[str, Any]) -> str:
    """The question as it was asked, wherever the client put it."""
    found = re.findall(r"What is \d+ plus \d+\?[^\"\\<]*", json.dumps(body.get("messages", "")))
    return found[-1].strip() if found else ""


def _openai(body: dict[str, Any], answer: str) -> str:
    message = {"role": "assistant", "content": answer}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": body.get("model", ""),
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    )


def _anthropic(body: dict[str, Any], answer: str) -> tuple[str, str]:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", ""),
        "content": [{"type": "text", "text": answer}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    if not body.get("stream"):
        return "application/json", json.dumps(message)
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": answer},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    ]
    lines = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return "text/event-stream", "".join(lines)
