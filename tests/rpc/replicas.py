"""A name of the tests' own and the replicas behind it, each at a loopback address of its own."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from agentworkspace.server.server import RpcServer, ServerSettings
from tests.rpc.echo_server import Text, make_edge, mount

_HEADER: Final = struct.Struct("!6H")
_ANSWERED: Final = 0x8580
_ADDRESS_QUERY: Final = 1


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """Answers every question for an address with `addresses`, which a cache may not keep."""

    addresses: list[str]
    asked: int = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked += 1
        number = _HEADER.unpack_from(data)[0]
        name_end = data.index(b"\0", _HEADER.size) + 1
        question = data[_HEADER.size : name_end + 4]
        (kind,) = struct.unpack_from("!H", data, name_end)
        found = self.addresses if kind == _ADDRESS_QUERY else []
        # Each a pointer to the name in the question, IPv4, for no time at all.
        records = [
            struct.pack("!HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(each) for each in found
        ]
        header = _HEADER.pack(number, _ANSWERED, 1, len(records), 0, 0)
        self._transport.sendto(header + question + b"".join(records), addr)


@dataclass
class Replicas:
    """Replicas by address, all on one port, and what each has answered."""

    names: NameServer
    name_port: int
    port: int = 0
    served: dict[str, int] = field(default_factory=dict)
    servers: dict[str, RpcServer] = field(default_factory=dict)

    @property
    def target(self) -> str:
        return f"dns://127.0.0.1:{self.name_port}/replicas.test:{self.port}"

    async def start(self, address: str, *, serving: bool = True, age: float = 3600.0) -> None:
        async def say(request: Text, _context: Any) -> Text:
            self.served[address] += 1
            return request

        settings = ServerSettings(
            listen=f"{address}:{self.port}", drain_seconds=1.0, max_connection_age_seconds=age
        )
        server = RpcServer(settings, make_edge(), [mount(say)])
        self.port = await server.start()
        self.served[address] = 0
        self.servers[address] = server
        await server.set_health(serving=serving)

    async def stop(self, address: str) -> None:
        await self.servers.pop(address).stop()


@asynccontextmanager
async def replicas(*addresses: str) -> AsyncIterator[Replicas]:
    """One replica at each address, all of them behind one name."""
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(
        lambda: NameServer(list(addresses)), local_addr=("127.0.0.1", 0)
    )
    running = Replicas(names, transport.get_extra_info("sockname")[1])
    try:
        for address in addresses:
            await running.start(address)
        yield running
    finally:
        for address in list(running.servers):
            await running.stop(address)
        transport.close()
