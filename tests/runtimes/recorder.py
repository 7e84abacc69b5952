"""Takes every connection on its ports, answers as a model's host would, and records what came.

One port serves plain HTTP, TLS for any name, and both kinds of proxy (CONNECT and absolute urls,
SOCKS 5), told apart by the first bytes: so a program that was led astray is heard, not refused.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final
from urllib.parse import urlsplit

from tests.runtimes.answers import Answering, answer_to
from tests.runtimes.arrivals import Arrival
from tests.runtimes.authority import Authority

_SECONDS: Final = 30
_TLS: Final = b"\x16"
_SOCKS: Final = b"\x05"
_METHODS: Final = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"}


@contextmanager
def recording(
    authority: Authority,
    ports: Sequence[int],
    arrivals: list[Arrival],
    *,
    address: str,
    answer: Answering = answer_to,
) -> Iterator[list[int]]:
    """Serve on `address` (empty: all) until left, and append what comes in to `arrivals`.

    Yields the ports, which matters where 0 was asked for.
    """
    context = authority.server_context()
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server((address, port), backlog=64)) for port in ports
        ]
        for listener in listeners:
            thread = threading.Thread(
                target=_accept, args=(listener, context, arrivals, answer), daemon=True
            )
            thread.start()
            stack.callback(thread.join, 5)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
        yield [int(listener.getsockname()[1]) for listener in listeners]


def _accept(
    listener: socket.socket,
    context: ssl.SSLContext,
    arrivals: list[Arrival],
    answer: Answering,
) -> None:
    while True:
        try:
            connection, _address = listener.accept()
        except OSError:
            return
        port = int(listener.getsockname()[1])
        talk = _Conversation(connection, context, arrivals, answer, port)
        threading.Thread(target=talk.run, daemon=True).start()


class _Conversation:
    """One connection, from its first byte to its end."""

    def __init__(
        self,
        connection: socket.socket,
        context: ssl.SSLContext,
        arrivals: list[Arrival],
        answer: Answering,
        port: int,
    ) -> None:
        connection.settimeout(_SECONDS)
        self._socket = connection
        self._context = context
        self._arrivals = arrivals
        self._answer = answer
        self._port = port
        self._host = ""
        self._via = ""
        self._secure = False
        self._buffer = b""

    def run(self) -> None:
        # Whoever hangs up in the middle, or does not trust the certificate, has said all it will.
        with contextlib.suppress(OSError, ssl.SSLError, ValueError):
            self._talk()
        with contextlib.suppress(OSError):
            self._socket.close()

    def _talk(self) -> None:
        while True:
            first = self._peek()
            if not first:
                return
            if first == _TLS and not self._secure:
                self._take_tls()
            elif first == _SOCKS and not self._secure:
                self._take_socks()
            elif not self._take_request():
                return

    def _peek(self) -> bytes:
        if not self._buffer:
            if self._secure:
                self._buffer = self._socket.recv(65536)
            else:
                return self._socket.recv(1, socket.MSG_PEEK)
        return self._buffer[:1]

    def _take_tls(self) -> None:
        secure = self._context.wrap_socket(self._socket, server_side=True)
        self._socket, self._secure = secure, True

    def _take_socks(self) -> None:
        _version, count = self._exactly(2)
        self._exactly(count)
        self._socket.sendall(b"\x05\x00")
        kind = self._exactly(4)[3]
        if kind == 3:
            host = self._exactly(self._exactly(1)[0]).decode()
        else:
            host = socket.inet_ntop(
                socket.AF_INET if kind == 1 else socket.AF_INET6,
                self._exactly(4 if kind == 1 else 16),
            )
        (port,) = struct.unpack("!H", self._exactly(2))
        self._socket.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        self._note("SOCKS", f"{host}:{port}", {}, b"")
        self._via, self._host, self._port = f"socks:{self._port}", host, port

    def _take_request(self) -> bool:
        head = self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        if method not in _METHODS:
            self._note("RAW", "", {}, head + self._buffer)
            return False
        target = rest.rpartition(" ")[0]
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        if method == "CONNECT":
            self._note(method, target, headers, b"")
            self._via = headers.get("host", "") or target
            host, _, port = target.rpartition(":")
            self._host, self._port = host, int(port)
            self._socket.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            return True
        if headers.get("expect", "").lower() == "100-continue":
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        arrival = self._note(method, target, headers, self._body(headers))
        answer = self._answer(arrival)
        self._socket.sendall(
            f"HTTP/1.1 {answer.status} Said\r\nContent-Type: {answer.kind}\r\n"
            f"Content-Length: {len(answer.content)}\r\nConnection: keep-alive\r\n\r\n".encode()
            + (b"" if method == "HEAD" else answer.content)
        )
        return headers.get("connection", "").lower() != "close"

    def _note(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Arrival:
        host, via = _host_of(headers.get("host", "")) or self._host, self._via
        port = self._port
        if target.startswith("http://"):
            # A plain proxy is told the whole url.
            absolute = urlsplit(target)
            via, host, port = f"proxy:{self._port}", absolute.hostname or "", absolute.port or 80
            target = absolute.path + (f"?{absolute.query}" if absolute.query else "")
        arrival = Arrival(
            host=host,
            port=port,
            secure=self._secure,
            method=method,
            target=target,
            headers=headers,
            body=body,
            via=via,
        )
        self._arrivals.append(arrival)
        return arrival

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self._exactly(int(headers.get("content-length") or 0))
        body = b""
        while size := int(self._until(b"\r\n").partition(b";")[0], 16):
            body += self._exactly(size)
            self._exactly(2)
        self._until(b"\r\n")
        return body

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            received = self._socket.recv(65536)
            if not received:
                taken, self._buffer = self._buffer, b""
                return taken
            self._buffer += received
        taken, _, self._buffer = self._buffer.partition(mark)
        return taken

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            received = self._socket.recv(65536)
            if not received:
                raise OSError("The caller hung up in the middle.")
            self._buffer += received
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken


def _host_of(header: str) -> str:
    """A Host header without its port."""
    host, _, port = header.rpartition(":")
    return (host if port.isdigit() else header).lower()
