"""A name server of the tests' own, put in the place of the system's resolver."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from agentworkspace.service import name_resolution


@dataclass
class NameServer:
    """Knows `names`; of any name below `never.test` it says nothing until it is released."""

    names: Mapping[str, list[str]]
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def getaddrinfo(self, host: str, port: object, **_: object) -> list[Any]:
        self.asked.append(host)
        if host.endswith(".never.test"):
            self.released.wait()
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(2, 1, 6, "", (address, 0)) for address in self.names[host]]


@contextmanager
def name_server(monkeypatch: pytest.MonkeyPatch, **names: list[str]) -> Iterator[NameServer]:
    """`agent_test=["1.1.1.1"]` makes agent.test lead there, for this process."""
    server = NameServer({name.replace("_", "."): found for name, found in names.items()})
    with monkeypatch.context() as patched:
        patched.setattr(name_resolution, "socket", _SocketModule(server))
        try:
            yield server
        finally:
            server.released.set()


class _SocketModule:
    SOCK_STREAM = socket.SOCK_STREAM

    def __init__(self, server: NameServer) -> None:
        self.getaddrinfo = server.getaddrinfo
