"""A vendor on loopback that answers as told and remembers what it was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Vendor:
    """`answers` maps a path to a status; a path that is not there is 404."""

    port: int
    answers: dict[str, int] = field(default_factory=dict)
    slow: set[str] = field(default_factory=set)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def headers_of(self, path: str) -> dict[str, str]:
        """Of the last request to `path`, names in lower case."""
        return next(headers for seen, headers in reversed(self.seen) if seen == path)


@contextmanager
def running_vendor() -> Iterator[Vendor]:
    vendor = Vendor(0)
    release = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            vendor.seen.append((self.path, headers))
            if self.path in vendor.slow:
                self._drip()
                return
            status = vendor.answers.get(self.path, 404)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", vendor.url("/elsewhere"))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _drip(self) -> None:
            """A byte now and then: every read succeeds, and the answer never ends."""
            try:
                while not release.wait(0.2):
                    self.wfile.write(b"H")
                    self.wfile.flush()
            except OSError:
                return

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    vendor.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield vendor
    finally:
        release.set()
        server.shutdown()
        thread.join(10)
        server.server_close()


def until(condition: object, seconds: float = 10.0) -> None:
    """Wait for a callable to become true; an AssertionError when it does not in time."""
    assert callable(condition)
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "waited too long"
        time.sleep(0.02)
