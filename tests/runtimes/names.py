"""A name server that answers one address to every name and notes which were asked for."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_IPV4: Final = 1
_HEADER: Final = struct.Struct("!6H")
_RECURSIVE_ANSWER: Final = 0x8180


@contextmanager
def answering_names(asked: list[str], address: str, *, port: int = 53) -> Iterator[int]:
    """Serve until left, and append every name to `asked` in lower case; yields the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", port))
        thread = threading.Thread(
            target=_serve, args=(listener, asked, socket.inet_aton(address)), daemon=True
        )
        thread.start()
        yield int(listener.getsockname()[1])
        # A datagram without a question is the sign to leave.
        listener.sendto(b"", listener.getsockname())
        thread.join(5)


def _serve(listener: socket.socket, asked: list[str], address: bytes) -> None:
    while True:
        query, caller = listener.recvfrom(4096)
        if not query:
            return
        try:
            name, kind, end = question_of(query)
        except (struct.error, IndexError, UnicodeDecodeError):
            continue
        asked.append(name)
        listener.sendto(_answer(query[:end], kind, address), caller)


def question_of(query: bytes) -> tuple[str, int, int]:
    """The name that is asked for, the kind of its record, and where the question ends."""
    labels = []
    place = _HEADER.size
    while length := query[place]:
        labels.append(query[place + 1 : place + 1 + length].decode("ascii"))
        place += 1 + length
    kind, _class = struct.unpack_from("!2H", query, place + 1)
    return ".".join(labels).lower(), kind, place + 5


def _answer(question: bytes, kind: int, address: bytes) -> bytes:
    # Every other kind of record exists for no name: callers fall back to IPv4.
    records = int(kind == _IPV4)
    head = question[:2] + _HEADER.pack(0, _RECURSIVE_ANSWER, 1, records, 0, 0)[2:]
    answer = head + question[_HEADER.size :]
    if records:
        answer += struct.pack("!3HIH", 0xC00C, _IPV4, 1, 60, len(address)) + address
    return answer
