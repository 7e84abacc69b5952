"""gRPC calls written straight into HTTP/2 frames, so that generating load costs next to nothing.

h2load sends the same bytes again and again, which is no load for a service that looks up tokens;
a grpc client in Python costs more than the server it measures. This sends another message with
every call, keeps the frames of a connection in order, honours the server's flow control, and
reads of each answer its grpc-status. Plain text, on loopback, for tests/bench only.
"""

from __future__ import annotations

import re
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_LARGEST_WINDOW: Final = 2**31 - 1
_FIRST_WINDOW: Final = 65_535
_MAX_CONCURRENT_STREAMS: Final = 4096
# We allow the server no header table, so the name stands in every frame: as it is or, from servers
# in Go, in Huffman's code. The number is as it is either way: the code would not shorten it.
_NAME_IN_HUFFMANS_CODE: Final = bytes.fromhex("9acac8b21234da8f")
_STATUS: Final = re.compile(
    rb"(?:grpc-status|" + re.escape(_NAME_IN_HUFFMANS_CODE) + rb").(\d{1,2})", re.DOTALL
)
# Length (3 bytes, read as two and one), kind, flags, stream.
_HEAD: Final = struct.Struct(">HBBBI")
BROKEN_OFF: Final = -1

Answered = Callable[[int, int, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One call: what it says and, unless the connection's does, who says it."""

    body: bytes
    bearer: str = ""


class Connection:
    """Non-blocking. `answered(tag, grpc status, body)` is called for every call that ended. What
    is not answered within `timeout_seconds`, the server gives up; 0 is no limit.
    """

    def __init__(
        self,
        address: str,
        method: str,
        *,
        bearer: str,
        answered: Answered,
        keep_bodies: bool = False,
        timeout_seconds: float = 0.0,
    ) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.in_flight = 0
        self.closed = False
        # The server takes no new calls here, but answers those that it has.
        self.leaving = False
        self._answered = answered
        self._keep_bodies = keep_bodies
        self._tags: dict[int, int] = {}
        self._bodies: dict[int, bytes] = {}
        self._stream = 1
        self._window = _FIRST_WINDOW
        self._blocked: deque[tuple[int, Message]] = deque()
        self._unread = b""
        headers = _headers(address, method, bearer)
        if timeout_seconds:
            headers.append((b"grpc-timeout", f"{round(timeout_seconds * 1000)}m".encode()))
        first = [
            b"\x83\x86",  # :method POST, :scheme http, from the static table
            *(_indexed(name, value) for name, value in headers),
        ]
        self._first_block: bytes | None = b"".join(first)
        # The newest entry of the dynamic table is 62.
        entries = len(first) - 1
        self._block = b"\x83\x86" + bytes(0x80 | (61 + entries - at) for at in range(entries))
        settings = b"".join(
            key.to_bytes(2) + value.to_bytes(4)
            for key, value in ((1, 0), (2, 0), (4, _LARGEST_WINDOW))
        )
        grow = (_LARGEST_WINDOW - _FIRST_WINDOW).to_bytes(4)
        self._unsent = bytearray(
            _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, grow)
        )

    def call(self, tag: int, message: Message) -> None:
        """Begin a call; nothing leaves before `flush`."""
        self.in_flight += 1
        # Nobody overtakes what waits for the window, and no stream is opened beyond the limit.
        if self._blocked or len(message.body) > self._window or self._is_full():
            self._blocked.append((tag, message))
        else:
            self._write(tag, message)

    def flush(self) -> bool:
        """Send what can be sent; True when something is left."""
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                return True
            except ConnectionError:
                self._break_off()
                return False
            del self._unsent[:sent]
        return False

    def receive(self) -> None:
        """Read what is there, and tell of every call that ended."""
        try:
            piece = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionError:
            piece = b""
        if not piece:
            self._break_off()
            return
        self._take(self._unread + piece if self._unread else piece)
        while self._blocked and not self._is_full() and not self.leaving:
            if len(self._blocked[0][1].body) > self._window:
                break
            self._write(*self._blocked.popleft())

    def close(self) -> None:
        self.closed = True
        self.socket.close()

    def _is_full(self) -> bool:
        return len(self._tags) >= _MAX_CONCURRENT_STREAMS

    def _write(self, tag: int, message: Message) -> None:
        stream = self._stream
        self._stream += 2
        self._tags[stream] = tag
        self._window -= len(message.body)
        block = self._block
        if self._first_block is not None:
            block, self._first_block = self._first_block, None
        if message.bearer:
            block += _unindexed_authorization(message.bearer)
        head, body = _HEAD.pack, message.body
        self._unsent += b"".join(
            (
                head(len(block) >> 8, len(block) & 0xFF, _HEADERS, _END_HEADERS, stream),
                block,
                head(len(body) >> 8, len(body) & 0xFF, _DATA, _END_STREAM, stream),
                body,
            )
        )

    def _take(self, data: bytes) -> None:
        """Every whole frame of `data`; the rest waits for more."""
        at, size = 0, len(data)
        keep_bodies = self._keep_bodies
        while at + 9 <= size:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            end = at + 9 + (high << 8 | low)
            if end > size:
                break
            # Nearly all frames are of the first three sorts; they are not copied out.
            if kind == _HEADERS:
                if flags & _END_STREAM:
                    found = _STATUS.search(data, at + 9, end)
                    self._end(stream, int(found[1]) if found else BROKEN_OFF)
            elif kind != _DATA:
                self._read(kind, flags, stream, data[at + 9 : end])
            elif keep_bodies:
                self._bodies[stream] = self._bodies.get(stream, b"") + data[at + 9 : end]
            at = end
        self._unread = data[at:]

    def _read(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _WINDOW:
            if stream == 0:
                self._window += int.from_bytes(payload)
        elif kind == _RESET:
            self._end(stream, BROKEN_OFF)
        elif kind == _GOAWAY:
            self.leaving = True
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            # A ping wants its bytes back; settings are acknowledged with nothing.
            self._unsent += _frame(kind, _ACK, 0, payload if kind == _PING else b"")

    def _end(self, stream: int, status: int) -> None:
        tag = self._tags.pop(stream, None)
        if tag is not None:
            self.in_flight -= 1
            self._answered(tag, status, self._bodies.pop(stream, b""))

    def _break_off(self) -> None:
        self.closed = True
        self._unsent.clear()
        for stream in list(self._tags):
            self._end(stream, BROKEN_OFF)
        while self._blocked:
            tag, _ = self._blocked.popleft()
            self.in_flight -= 1
            self._answered(tag, BROKEN_OFF, b"")


def prefixed(message: bytes) -> bytes:
    """A message as it travels: not compressed, its length, itself."""
    return b"\0" + len(message).to_bytes(4) + message


def _headers(address: str, method: str, bearer: str) -> list[tuple[bytes, bytes]]:
    headers = [
        (b":path", method.encode()),
        (b":authority", address.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    if bearer:
        headers.append((b"authorization", b"Bearer " + bearer.encode()))
    return headers


def _indexed(name: bytes, value: bytes) -> bytes:
    """A header that the server shall remember: sent once, then named by one byte."""
    return b"\x40" + _text(name) + _text(value)


def _unindexed_authorization(bearer: str) -> bytes:
    # 23 in the static table; a 4-bit prefix holds 15, the rest follows.
    return b"\x0f\x08" + _text(b"Bearer " + bearer.encode())


def _text(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    rest = size - 127
    if rest >= 128:
        raise ValueError("longer than this writes")
    return bytes((127, rest)) + text


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    head = len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4)
    return head + payload
