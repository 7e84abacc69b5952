"""Hosts on this machine that stand for the outside: they answer as told and note what came in."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SUM = re.compile(r"What is (\d+) plus (\d+)\?")


@dataclass(frozen=True, kw_only=True)
class Received:
    """One call as it arrived."""

    path: str
    credentials: tuple[str, ...] = field(repr=False)
    workspace_id: str


@dataclass
class RecordingHost:
    """`statuses` are the codes that answer a GET, by path; a POST that asks for a sum gets it."""

    port: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


def question() -> tuple[str, str]:
    """What a model is asked, and the one right answer."""
    return "What is 20431 plus 5501? Answer with the number alone.", "25932"


@contextmanager
def recording_host() -> Iterator[RecordingHost]:
    host = RecordingHost()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._note()
            self._say(host.statuses.get(self.path, 404), b"")

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            self._note()
            found = SUM.search(asked)
            answer = str(int(found[1]) + int(found[2])) if found else "I was asked for no sum."
            message = {"type": "message", "content": [{"type": "text", "text": answer}]}
            self._say(200, json.dumps(message).encode())

        def _note(self) -> None:
            bearer = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            both = (bearer, self.headers.get("x-api-key") or "")
            host.received.append(
                Received(
                    path=self.path,
                    credentials=tuple(each for each in both if each),
                    workspace_id=self.headers.get("X-Molecule-Workspace-Id") or "",
                )
            )

        def _say(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    host.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
