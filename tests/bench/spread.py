"""Which process answers a connection, where several share a port: read from /proc.

The kernel spreads connections over the sockets of one port by a hash of their addresses. Of
thousands each process gets its share; of the few that a bench opens one may get nearly all, and
what is measured then is luck. So the generator looks who has accepted, and connects again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

# gRPC listens with IPv6 even on 127.0.0.1; Go does not.
_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
# Connected, and accepted at once unless the server is very busy.
ACCEPT_SECONDS: Final = 5.0


class NotAccepted(Exception):
    """No process has taken the connection."""


def owner(client_port: int, server_port: int, processes: Iterable[int]) -> int:
    """The process that holds the server's end. Raises NotAccepted."""
    give_up = time.monotonic() + ACCEPT_SECONDS
    waiting = list(processes)
    while True:
        table = "".join(each.read_text() for each in _TABLES if each.exists())
        inode = accepted_inode(table, client_port, server_port)
        for process in waiting if inode else ():
            if inode in _sockets_of(process):
                return process
        if time.monotonic() > give_up:
            raise NotAccepted(f"nobody of {waiting} has accepted a connection")
        time.sleep(0.001)


def accepted_inode(table: str, client_port: int, server_port: int) -> str:
    """Of the server's end, by the lines of /proc/net/tcp; empty before it is accepted."""
    local, remote = f":{server_port:04X}", f":{client_port:04X}"
    for fields in map(str.split, table.splitlines()):
        # A heading has no inode in this place, and no port anywhere.
        if (
            len(fields) > 9
            and fields[1].endswith(local)
            and fields[2].endswith(remote)
            and fields[9] != "0"
        ):
            return fields[9]
    return ""


def has_room(counted: Mapping[int, int], process: int, *, processes: int, wanted: int) -> bool:
    """Whether one more connection of this process leaves every other its fair share."""
    return counted.get(process, 0) < -(-wanted // processes)


def _sockets_of(process: int) -> set[str]:
    found = set()
    try:
        for each in Path(f"/proc/{process}/fd").iterdir():
            # It may be closed by now.
            with suppress(OSError):
                found.add(str(each.readlink()).removeprefix("socket:[").removesuffix("]"))
    except OSError:
        return set()
    return found
